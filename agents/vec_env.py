"""A Gymnasium vector environment behind SB3's VecEnv interface, which SB3 does not ship.

From the infos of a vector environment, masked arrays, to one dictionary for each lane.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvObs, VecEnvStepReturn

from agents.spaces import require_arrays

Info = dict[str, Any]


def fill(listed: list[Info] | dict[int, Info], infos: Mapping[str, Any], lanes: list[int]) -> None:
    """Give each of some lanes its entry of everything in a vector environment's `infos`.

    A key belongs to the lanes of its mask `_key`, and to all of them where it has none: then an
    array or a list gives each lane its row, and anything else is given whole. Dictionaries are
    filled in the same way.

    Args:
        listed: dictionaries of the lanes, which receive the entries.
        infos: infos of a Gymnasium vector environment.
        lanes: numbers of the lanes to fill.

    >>> listed = [{}, {}]
    >>> fill(listed, {"speed": np.array([1, 2]), "_speed": np.array([True, False])}, [0, 1])
    >>> listed
    [{'speed': np.int64(1)}, {}]
    """
    for name, values in infos.items():
        if name[:1] == "_" and name[1:] in infos:
            continue
        mask = infos.get(f"_{name}")
        chosen = lanes if mask is None else [lane for lane in lanes if mask[lane]]
        if isinstance(values, dict):
            inside: dict[int, Info] = {lane: {} for lane in chosen}
            fill(inside, values, chosen)
            for lane in chosen:
                listed[lane][name] = inside[lane]
            continue
        rows = isinstance(values, Sequence | np.ndarray) and not isinstance(values, str)
        for lane in chosen:
            listed[lane][name] = values[lane] if rows else values


def observed_lanes(infos: Mapping[str, Any], num_envs: int) -> Any:  # noqa: ANN401
    """Return whether each lane's step was observed, [n], or None where none was."""
    observed = infos.get("observed")
    if observed is None:
        return None
    # arrays of objects hold None in the lanes that said nothing
    flags = np.asarray(observed, dtype=np.bool_)
    if "_observed" in infos:
        flags = flags & infos["_observed"]
    return np.broadcast_to(flags, num_envs) if flags.any() else None


class VectorEnvAdapter(VecEnv):
    """A native Gymnasium `VectorEnv` as an SB3 `VecEnv`, whatever its autoreset mode.

    SB3 resets a lane in the step that ends it. So does same-step autoreset. With autoreset
    disabled the adapter resets ended lanes itself, in the same step, to the same effect. With
    next-step autoreset an end is followed by a step that only resets: its action is ignored, and
    it is no data. Then the lane's `info` is `{"resetting": True}`, its reward is 0, and
    `RoutedBuffer` leaves the step out; SB3's own buffer would not.

    The `info` of a step is that of the step just taken, and empty for a lane that neither ended
    nor was observed. One that ended has the last observation, SB3's truncation flag, and the
    return and length of the episode as the learner saw it.

    Attributes:
        states_oversight: whether any `info` has said `observed`, yes or no.

    Args:
        venv: a vector environment whose observations are arrays.

    Raises:
        ValueError: if they are not, or it does not say when it resets.
    """

    def __init__(self, venv: VectorEnv[Any, Any, Any]) -> None:
        self.mode = venv.metadata.get("autoreset_mode")
        if not isinstance(self.mode, AutoresetMode):
            raise ValueError(
                f"metadata['autoreset_mode'] of the vector environment must be one of "
                f"{[str(mode) for mode in AutoresetMode]}, got {self.mode!r}: set it there"
            )
        require_arrays(venv.single_observation_space)
        self.venv = venv
        self.render_mode = venv.render_mode
        self.states_oversight = False
        self._pending: NDArray[Any] | None = None
        self._return = np.zeros(venv.num_envs)
        self._length = np.zeros(venv.num_envs, dtype=np.int64)
        self._resetting = np.zeros(venv.num_envs, dtype=np.bool_)
        super().__init__(venv.num_envs, venv.single_observation_space, venv.single_action_space)

    def reset(self) -> VecEnvObs:
        """Start an episode in every lane, with what `seed` and `set_options` were given, if any.

        Raises:
            ValueError: if lanes were given different options.
        """
        seed = self._seeds[0]
        options = _same_options(self._options)
        observations, infos = self.venv.reset(seed=None if seed is None else int(seed), **options)
        self.reset_infos = [{} for _ in range(self.num_envs)]
        fill(self.reset_infos, infos, list(range(self.num_envs)))
        self._return[:] = 0.0
        self._length[:] = 0
        self._resetting[:] = False
        self.states_oversight |= "observed" in infos
        self._reset_seeds()
        self._reset_options()
        return observations  # type: ignore[no-any-return]

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions until `step_wait`."""
        self._pending = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Step every lane; those that ended return the first observation of the next episode.

        With next-step autoreset they do so one step later, and return their last one first.
        """
        observations, rewards, terminated, truncated, infos = self.venv.step(self._pending)
        dones = terminated | truncated
        self._return += rewards
        self._length += 1
        # a copy: SB3 adds the value after a time limit to the rewards in place
        paid = np.array(rewards, dtype=np.float32)
        listed: list[Info] = [{} for _ in range(self.num_envs)]
        self.states_oversight |= "observed" in infos or "observed" in infos.get("final_info", ())
        observed = observed_lanes(infos, self.num_envs)
        if observed is not None:
            fill(listed, infos, np.flatnonzero(observed & ~dones & ~self._resetting).tolist())
        if self._resetting.any():
            self._pass_over(paid, listed)
        if dones.any():
            observations = self._end(observations, truncated & ~terminated, dones, infos, listed)
        if self.mode is AutoresetMode.NEXT_STEP:
            self._resetting[:] = dones
        return observations, paid, dones, listed

    def _pass_over(self, paid: NDArray[np.float32], listed: list[Info]) -> None:
        """Say of the lanes that this step only reset that nothing else happened there."""
        paid[self._resetting] = 0.0
        self._return[self._resetting] = 0.0
        self._length[self._resetting] = 0
        for lane in np.flatnonzero(self._resetting).tolist():
            listed[lane]["resetting"] = True

    def _end(
        self,
        observations: Any,  # noqa: ANN401 (of any space)
        cut: NDArray[np.bool_],
        dones: NDArray[np.bool_],
        infos: dict[str, Any],
        listed: list[Info],
    ) -> VecEnvObs:
        """Report how episodes ended, and return the next observations."""
        same_step = self.mode is AutoresetMode.SAME_STEP
        last = infos["final_obs"] if same_step else observations
        lanes = np.flatnonzero(dones).tolist()
        fill(listed, infos.get("final_info", {}) if same_step else infos, lanes)
        for lane in lanes:
            listed[lane] |= {
                "terminal_observation": last[lane] if same_step else np.array(last[lane]),
                "TimeLimit.truncated": bool(cut[lane]),
                "episode": {"r": float(self._return[lane]), "l": int(self._length[lane])},
            }
        self._return[lanes] = 0.0
        self._length[lanes] = 0
        if self.mode is AutoresetMode.DISABLED:
            observations, _ = self.venv.reset(options={"reset_mask": dones.copy()})
        return observations  # type: ignore[no-any-return]

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Copy all that the lanes' future depends on; the environment must offer `get_state`."""
        state: dict[str, NDArray[Any]] = self.venv.get_state()  # type: ignore[attr-defined]
        return {**state, **{name: array.copy() for name, array in self._arrays().items()}}

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Go on exactly where `get_state` was called."""
        rest = dict(state)
        for name, array in self._arrays().items():
            array[:] = rest.pop(name)
        self.venv.set_state(rest)  # type: ignore[attr-defined]

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {"return": self._return, "length": self._length, "resetting": self._resetting}

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


def _same_options(given: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the argument `options` of `reset`, if there is one, from that of each lane."""
    first = given[0]
    # lanes share an object where `set_options` was given one, whose arrays cannot be compared
    if not all(each is first or _equal(each, first) for each in given):
        raise ValueError(
            f"the lanes of a native vector environment are reset together, so that set_options "
            f"must give all of them the same options, got {list(given)}: give one dictionary"
        )
    return {"options": first} if first else {}


def _equal(one: object, other: object) -> bool:
    """Return whether two options are equal, arrays inside them included."""
    try:
        np.testing.assert_equal(one, other)
    except AssertionError:
        return False
    return True


def adapted(env: Any) -> Any:  # noqa: ANN401 (what SB3 takes passes as it is)
    """Return an environment of Gymnasium, single or of many lanes, behind SB3's interface."""
    if isinstance(env, gym.Env):
        single = env
        env = SyncVectorEnv([lambda: single], autoreset_mode=AutoresetMode.SAME_STEP)
    return VectorEnvAdapter(env) if isinstance(env, VectorEnv) else env
