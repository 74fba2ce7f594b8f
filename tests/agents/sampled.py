"""An environment of any spaces, and the spaces that SB3's PPO takes."""

from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

VECTOR = spaces.Box(-1, 1, (3,), np.float32)
IMAGE = spaces.Box(0, 255, (3, 36, 36), np.uint8)

OBSERVATIONS: dict[str, spaces.Space[Any]] = {
    "vector": VECTOR,
    "doubles": spaces.Box(-1, 1, (3,), np.float64),
    "integers": spaces.Box(-5, 5, (2, 2), np.int64),
    "discrete": spaces.Discrete(4),
    "several": spaces.MultiDiscrete([3, 2]),
    "switches": spaces.MultiBinary(3),
    "table": spaces.MultiBinary([2, 3]),
    "image": IMAGE,
    "image, channels last": spaces.Box(0, 255, (36, 40, 1), np.uint8),
    "planes": spaces.Box(0, 1, (2, 4, 4), np.float32),
    "dict": spaces.Dict(
        {
            "image": IMAGE,
            "vector": VECTOR,
            "number": spaces.Discrete(3),
            "on": spaces.MultiBinary(2),
        }
    ),
    "dict, channels last": spaces.Dict(
        {"image": spaces.Box(0, 255, (36, 36, 3), np.uint8), "many": spaces.MultiDiscrete([2, 4])}
    ),
}
ACTIONS: dict[str, spaces.Space[Any]] = {
    "discrete": spaces.Discrete(3),
    "continuous": spaces.Box(-2, 1, (2,), np.float32),
    "doubles": spaces.Box(-1, 1, (1,), np.float64),
    "several": spaces.MultiDiscrete([3, 2]),
    "switches": spaces.MultiBinary(2),
}
PAIRS = [
    *((name, "discrete") for name in OBSERVATIONS),
    *(("vector", name) for name in ACTIONS if name != "discrete"),
    *(("dict", name) for name in ACTIONS if name != "discrete"),
]
"""Every kind of observations with the simplest actions, and every kind of actions with two."""


class Sampled(gym.Env[Any, Any]):
    """Draws observations from a space, pays by the action, and ends or is cut after 3 to 9 steps.

    Every other episode is observed.
    """

    def __init__(
        self, observations: spaces.Space[Any] = VECTOR, actions: spaces.Space[Any] | None = None
    ) -> None:
        self.observation_space = deepcopy(observations)
        self.action_space = deepcopy(ACTIONS["discrete"] if actions is None else actions)
        self.episode = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(3, 10))
        self.episode += 1
        return self._see(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Pay more for higher actions."""
        assert self.action_space.contains(action)
        self.left -= 1
        pays = float(np.sum(action)) - 1
        cut, observed = self.episode % 3 == 0, self.episode % 2 == 0
        info = {"observed": observed, "observed_reward": pays if observed else 0.0}
        return self._see(), pays, self.left == 0 and not cut, self.left == 0 and cut, info

    def _see(self) -> Any:  # noqa: ANN401
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        return self.observation_space.sample()
