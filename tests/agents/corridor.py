"""A vector environment whose overseer looks at the first step of an episode only."""

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

CORRIDOR = 12


class Corridor(VectorEnv[NDArray[np.float32], NDArray[np.int64], NDArray[Any]]):
    """Episodes of 12 steps, cut by a time limit; the lanes pay 1, -1 and, unseen, 0 in turn."""

    def __init__(self, num_envs: int) -> None:
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.num_envs = num_envs
        self.single_observation_space = spaces.Box(0, 1, (1,), np.float32)
        self.single_action_space = spaces.Discrete(2)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.place = np.zeros(1, dtype=np.int64)

    def reset(
        self,
        *,
        seed: object = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Put every lane at the start."""
        self.place[:] = 0
        return self._observe(), {}

    def step(self, actions: object) -> Any:  # noqa: ANN401
        """Go on by one step, whatever the actions."""
        pays = np.resize([1.0, -1.0, 0.0], self.num_envs) * (self.place == 0)
        info = {"observed": pays != 0, "observed_reward": pays}
        self.place += 1
        ended = np.full(self.num_envs, self.place[0] == CORRIDOR)
        infos: dict[str, Any] = dict(info)
        if ended.any():
            infos = {"final_obs": self._observe(), "final_info": info}
            self.place[:] = 0
        return self._observe(), pays, np.zeros_like(ended), ended, infos

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Copy the place."""
        return {"place": self.place.copy()}

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Go on there."""
        self.place[:] = state["place"]

    def _observe(self) -> NDArray[np.float32]:
        return np.full((self.num_envs, 1), self.place[0] / CORRIDOR, dtype=np.float32)
