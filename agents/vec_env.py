"""A Gymnasium vector environment behind SB3's VecEnv interface, which SB3 does not ship."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvObs, VecEnvStepReturn


class VectorEnvAdapter(VecEnv):
    """A native Gymnasium `VectorEnv` as an SB3 `VecEnv`.

    SB3 resets a lane in the step that ends it, so the environment must do so too. The `info` of a
    step is that of the step just taken: for a lane that ended it comes from `final_info`, with the
    last observation, SB3's truncation flag, and the return and length of the episode as the
    learner saw it.

    Args:
        venv: a vector environment with same-step autoreset.

    Raises:
        ValueError: if it resets at another moment.
    """

    def __init__(self, venv: VectorEnv[Any, Any, Any]) -> None:
        mode = venv.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.SAME_STEP:
            raise ValueError(
                f"the vector environment's autoreset mode is {mode}, SB3 needs "
                f"{AutoresetMode.SAME_STEP}: make it with that mode"
            )
        self.venv = venv
        self.render_mode = venv.render_mode
        self._pending: NDArray[Any] | None = None
        self._return = np.zeros(venv.num_envs)
        self._length = np.zeros(venv.num_envs, dtype=np.int64)
        super().__init__(venv.num_envs, venv.single_observation_space, venv.single_action_space)

    def reset(self) -> VecEnvObs:
        """Start an episode in every lane, with the seed given to `seed`, if any."""
        seed = self._seeds[0]
        observations, infos = self.venv.reset(seed=None if seed is None else int(seed))
        self.reset_infos = [{} for _ in range(self.num_envs)]
        _fill(self.reset_infos, infos, range(self.num_envs))
        self._return[:] = 0.0
        self._length[:] = 0
        self._reset_seeds()
        return observations  # type: ignore[no-any-return]

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions until `step_wait`."""
        self._pending = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Step every lane; those that ended return the first observation of the next episode."""
        observations, rewards, terminated, truncated, infos = self.venv.step(self._pending)
        dones = terminated | truncated
        self._return += rewards
        self._length += 1
        lanes = np.flatnonzero(dones)
        listed: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if lanes.size:
            _fill(listed, infos["final_info"], lanes.tolist())
            for lane in lanes.tolist():
                listed[lane] |= {
                    "terminal_observation": infos["final_obs"][lane],
                    "TimeLimit.truncated": bool(truncated[lane] and not terminated[lane]),
                    "episode": {"r": float(self._return[lane]), "l": int(self._length[lane])},
                }
            self._return[lanes] = 0.0
            self._length[lanes] = 0
        # a copy: SB3 adds the value after a time limit to the rewards in place
        return observations, np.array(rewards, dtype=np.float32), dones, listed

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Copy all that the lanes' future depends on; the environment must offer `get_state`."""
        state: dict[str, NDArray[Any]] = self.venv.get_state()  # type: ignore[attr-defined]
        return {**state, "return": self._return.copy(), "length": self._length.copy()}

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Go on exactly where `get_state` was called."""
        rest = dict(state)
        self._return[:], self._length[:] = rest.pop("return"), rest.pop("length")
        self.venv.set_state(rest)  # type: ignore[attr-defined]

    def close(self) -> None:
        """Close the environment."""
        self.venv.close()

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """Return a picture of each lane."""
        frames: Any = self.venv.render()
        return frames or [None] * self.num_envs

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:  # noqa: ANN401
        """Return an attribute of the vector environment, once per lane asked for."""
        value = getattr(self.venv, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:  # noqa: ANN401
        """Refuse: the lanes of a native vector environment are not separate objects."""
        raise AttributeError(f"cannot set {attr_name!r}: the lanes share one environment")

    def env_method(
        self,
        method_name: str,
        *args: Any,  # noqa: ANN401
        indices: Any = None,  # noqa: ANN401
        **kwargs: Any,  # noqa: ANN401
    ) -> list[Any]:
        """Refuse: the lanes of a native vector environment are not separate objects."""
        raise AttributeError(f"cannot call {method_name!r}: the lanes share one environment")

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:  # noqa: ANN401
        """Return False for each lane: no single environment lies inside."""
        return [False for _ in self._get_indices(indices)]


def _fill(listed: list[dict[str, Any]], infos: dict[str, Any], lanes: Sequence[int]) -> None:
    """Give each of some lanes its entry of every array in a vector environment's `infos`."""
    for name, values in infos.items():
        mask = infos.get(f"_{name}")
        if mask is not None:
            for lane in lanes:
                if mask[lane]:
                    listed[lane][name] = values[lane]
