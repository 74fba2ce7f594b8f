"""A Gymnasium vector environment behind SB3's VecEnv interface, which SB3 does not ship.

From the infos of a vector environment, masked arrays, to one dictionary for each lane.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from reprlib import repr as shorten
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common import evaluation
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvObs, VecEnvStepReturn

from agents.lanes import Lanes, lane_by_lane
from agents.spaces import lane_of, require_arrays

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


OF_NO_NUMBER = ("float() argument", "setting an array element", "could not convert string")


@contextmanager
def refusals_of_rewards() -> Iterator[None]:
    """Raise a ValueError where an array of Gymnasium or SB3 cannot hold the rewards of a step."""
    try:
        yield
    except (OverflowError, TypeError, ValueError) as error:
        text = " ".join(str(error).split())
        if not isinstance(error, OverflowError) and not text.startswith(OF_NO_NUMBER):
            raise  # by the environment itself
        raise ValueError(
            f"a step of the environment ended in an error of type {type(error).__name__} ({text}): "
            "rewards, and observed rewards, must be finite numbers that a float can hold; repair "
            "or scale them in a wrapper of the environment"
        ) from error


def float32_rewards(rewards: Any, lanes: int) -> NDArray[np.float32]:  # noqa: ANN401 (of any kind)
    """Return a copy of the rewards of a step: SB3 adds the value after a time limit in place.

    Raises:
        ValueError: if they are not one number for each lane, or float32 cannot hold one of them.
    """
    array = np.asarray(rewards)
    if array.shape != (lanes,) or array.dtype.kind not in "fiub":
        given = " ".join(shorten(rewards).split())
        raise ValueError(
            f"the environment must pay a number in each of {lanes} lanes, got {given}, "
            f"an array of {array.dtype}: repair its rewards, or replace them in a wrapper"
        )
    with np.errstate(over="ignore"):
        paid = array.astype(np.float32)
    if np.any(lost := np.isinf(paid) & np.isfinite(array)):
        lane = int(np.flatnonzero(lost)[0])
        raise ValueError(
            f"the environment paid {array[lane]} in lane {lane}, but SB3 keeps rewards as float32, "
            f"up to {np.finfo(np.float32).max:.1e}: scale them in a wrapper"
        )
    return paid


OF_THE_END = ("final_obs", "_final_obs", "final_info", "_final_info")


class VectorEnvAdapter(VecEnv):
    """A native Gymnasium `VectorEnv` as an SB3 `VecEnv`, whatever its autoreset mode.

    SB3 resets a lane in the step that ends it, and its tools (`evaluate_policy`, `VecMonitor`,
    `VecFrameStack`) rely on that. So does same-step autoreset. With autoreset disabled or in the
    next step the adapter resets ended lanes itself, in the same step, to the same effect: all three
    modes show what `DummyVecEnv` shows.

    A few vector environments reset in the next step and cannot reset some lanes alone. They are
    refused, unless `marks_resets` is set: then an end is followed by a step that only resets. Its
    action is ignored, its reward is 0, and its `info` is `{"resetting": True}`; only the buffer of
    `RoutedPPO` leaves it out.

    The `info` of a step is that of the step just taken, and empty for a lane that neither ended
    nor was observed. One that ended has the last observation, SB3's truncation flag, and the
    return and length of the episode: those of the lane's `Monitor`, or else as the learner saw it.
    `DummyVecEnv` also says `TimeLimit.truncated` where nothing ended; SB3 takes False where it is
    not said, and saying so would cost 1 to 3 percent of the training time of 256 lanes.

    Attributes:
        states_oversight: whether any `info` has said `observed`, yes or no.

    Args:
        venv: a vector environment whose observations are arrays, or a `Dict` of arrays.
        marks_resets: whether to accept an environment whose lanes cannot be reset alone, for a
            learner that leaves out the steps that only reset.

    Raises:
        ValueError: if observations are not arrays, it does not say when it resets, or its lanes
            cannot be reset alone.
    """

    def __init__(self, venv: VectorEnv[Any, Any, Any], *, marks_resets: bool = False) -> None:
        if not isinstance(venv, VectorEnv):
            raise ValueError(
                f"VectorEnvAdapter takes a vector environment of Gymnasium, got {venv!r}: put "
                "single environments into gymnasium.vector.SyncVectorEnv"
            )
        self.mode = venv.metadata.get("autoreset_mode")
        if not isinstance(self.mode, AutoresetMode):
            raise ValueError(
                f"metadata['autoreset_mode'] of the vector environment must be one of "
                f"{[str(mode) for mode in AutoresetMode]}, got {self.mode!r}: set it there"
            )
        require_arrays(venv.single_observation_space)
        alone = lane_by_lane(venv) if self.mode is AutoresetMode.NEXT_STEP else venv
        if alone is None and not marks_resets:
            raise ValueError(
                f"{type(venv.unwrapped).__name__} resets ended lanes in the next step and cannot "
                "reset some lanes alone, so that SB3 would count resets as steps: build it with "
                "AutoresetMode.SAME_STEP or from single environments with SyncVectorEnv, set "
                "resets_lanes = True if its reset takes a reset_mask, or give it to RoutedPPO "
                "itself, which leaves these steps out"
            )
        self.venv = venv if alone is None else alone
        self._marks = alone is None
        self._lanes = Lanes(self.venv)
        self._monitored = all(self._lanes.wrapped(Monitor, list(range(venv.num_envs))))
        self.states_oversight = False
        self._pending: NDArray[Any] | None = None
        self._return = np.zeros(venv.num_envs)
        self._length = np.zeros(venv.num_envs, dtype=np.int64)
        self._resetting = np.zeros(venv.num_envs, dtype=np.bool_)
        super().__init__(venv.num_envs, venv.single_observation_space, venv.single_action_space)
        self.render_mode = venv.render_mode

    def reset(self) -> VecEnvObs:
        """Start an episode in every lane, with what `seed` and `set_options` were given, if any.

        Raises:
            ValueError: if lanes were given different options, or only some are to be reset.
        """
        seed = self._seeds[0]
        options = _same_options(self._options, self.num_envs)
        observations, infos = self.venv.reset(seed=None if seed is None else int(seed), **options)
        self._note_starts(infos, list(range(self.num_envs)))
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

        Raises:
            ValueError: if a reward is too large for a float.
        """
        with refusals_of_rewards():
            observations, rewards, terminated, truncated, infos = self.venv.step(self._pending)
        dones = terminated | truncated
        paid = float32_rewards(rewards, self.num_envs)
        self._return += rewards
        self._length += 1
        listed: list[Info] = [{} for _ in range(self.num_envs)]
        self.states_oversight |= "observed" in infos or "observed" in infos.get("final_info", ())
        observed = observed_lanes(infos, self.num_envs)
        if observed is not None:
            fill(listed, infos, np.flatnonzero(observed & ~dones & ~self._resetting).tolist())
        if self._resetting.any():
            self._pass_over(paid, infos, listed)
        if dones.any():
            observations = self._end(observations, truncated & ~terminated, dones, infos, listed)
        if self._marks:
            self._resetting[:] = dones
        return observations, paid, dones, listed

    def _pass_over(self, paid: NDArray[np.float32], infos: Info, listed: list[Info]) -> None:
        """Say of the lanes that this step only reset that nothing else happened there."""
        paid[self._resetting] = 0.0
        self._return[self._resetting] = 0.0
        self._length[self._resetting] = 0
        lanes = np.flatnonzero(self._resetting).tolist()
        self._note_starts(infos, lanes)
        for lane in lanes:
            listed[lane]["resetting"] = True

    def _end(
        self,
        observations: Any,  # noqa: ANN401 (of any space)
        cut: NDArray[np.bool_],
        dones: NDArray[np.bool_],
        infos: dict[str, Any],
        listed: list[Info],
    ) -> VecEnvObs:
        """Report how episodes ended, start the next ones, and return their observations."""
        same_step = self.mode is AutoresetMode.SAME_STEP
        last = infos["final_obs"] if same_step else observations
        lanes = np.flatnonzero(dones).tolist()
        fill(listed, infos.get("final_info", {}) if same_step else infos, lanes)
        for lane in lanes:
            listed[lane] |= {
                "terminal_observation": lane_of(last, lane),
                "TimeLimit.truncated": bool(cut[lane]),
            }
            if not self._monitored:
                seen = {"r": float(self._return[lane]), "l": int(self._length[lane])}
                listed[lane]["episode"] = seen
        self._return[lanes] = 0.0
        self._length[lanes] = 0
        if same_step:
            self._note_starts(infos, lanes)
        elif not self._marks:
            options = {"reset_mask": dones.copy()}
            observations, infos = self.venv.reset(options=options)
            self._note_starts(infos, lanes)
        return observations  # type: ignore[no-any-return]

    def _note_starts(self, infos: Info, lanes: list[int]) -> None:
        """Keep what the reset of some lanes said, as `DummyVecEnv` does."""
        for lane in lanes:
            self.reset_infos[lane] = {}
        starts = {name: values for name, values in infos.items() if name not in OF_THE_END}
        fill(self.reset_infos, starts, lanes)

    @property
    def envs(self) -> Sequence[gym.Env[Any, Any]]:
        """The environments of the lanes, as `DummyVecEnv` has them.

        Raises:
            LaneError: an AttributeError, if no lane is an environment in this process.
        """
        return self._lanes.environments()

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

    def has_attr(self, attr_name: str) -> bool:
        """Return whether every lane has an attribute, or all share one."""
        return self._lanes.has(attr_name)

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:  # noqa: ANN401
        """Return an attribute of each lane asked for; see `Lanes`."""
        return self._lanes.get(attr_name, list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:  # noqa: ANN401
        """Set an attribute of the lanes asked for; see `Lanes`."""
        self._lanes.set(attr_name, value, list(self._get_indices(indices)))

    def env_method(
        self,
        method_name: str,
        *method_args: Any,  # noqa: ANN401
        indices: Any = None,  # noqa: ANN401
        **method_kwargs: Any,  # noqa: ANN401
    ) -> list[Any]:
        """Call a method of the lanes asked for; see `Lanes`."""
        lanes = list(self._get_indices(indices))
        return self._lanes.call(method_name, lanes, *method_args, **method_kwargs)

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:  # noqa: ANN401
        """Return whether each lane has a wrapper; False where the lanes cannot be seen."""
        lanes = list(self._get_indices(indices))
        if self._marks and wrapper_class is Monitor:
            # then `evaluate_policy` reads info["episode"], instead of counting resets as steps
            return [True for _ in lanes]
        return self._lanes.wrapped(wrapper_class, lanes)


def _same_options(given: Sequence[Info], num_envs: int) -> dict[str, Info]:
    """Return the argument `options` of `reset`, if there is one, from that of each lane."""
    if len(given) != num_envs:
        raise ValueError(
            f"options must be one dictionary, or one for each of {num_envs} lanes, got "
            f"{len(given)}: give one dictionary"
        )
    first = given[0]
    # lanes share an object where `set_options` was given one, whose arrays cannot be compared
    if any(given) and not all(each is first or _equal(each, first) for each in given):
        raise ValueError(
            f"the lanes of a native vector environment are reset together, so that set_options "
            f"must give all of them the same options, got {list(given)}: give one dictionary"
        )
    if "reset_mask" in first:
        raise ValueError(
            "options['reset_mask'] would reset some lanes only, but reset of a VecEnv starts an "
            "episode in every lane: leave it out"
        )
    return {"options": first} if first else {}


def _equal(one: object, other: object) -> bool:
    """Return whether two options are equal, arrays inside them included."""
    try:
        np.testing.assert_equal(one, other)
    except AssertionError:
        return False
    return True


def require_env(env: Any) -> Any:  # noqa: ANN401 (what is an environment passes as it is)
    """Return an environment, or raise a ValueError if it is none."""
    if isinstance(env, gym.Env | VectorEnv | VecEnv):
        return env
    raise ValueError(
        f"env must be an environment or a vector environment of Gymnasium, or a VecEnv of SB3, got "
        f"{env!r}: build it, as with gymnasium.make"
    )


def adapted(env: Any, *, marks_resets: bool = False) -> Any:  # noqa: ANN401 (what SB3 takes passes as it is)
    """Return a vector environment of Gymnasium behind SB3's interface, and any other as it is."""
    return VectorEnvAdapter(env, marks_resets=marks_resets) if isinstance(env, VectorEnv) else env


def evaluate_policy(model: Any, env: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 (as SB3's)
    """Evaluate a policy as SB3's function of this name does, also on a Gymnasium `VectorEnv`.

    SB3's own calls a vector environment no environment; to it pass `VectorEnvAdapter(env)`.
    Arguments and results are those of `stable_baselines3.common.evaluation.evaluate_policy`.
    """
    seen = VectorEnvAdapter(env) if isinstance(env, VectorEnv) else env
    return evaluation.evaluate_policy(model, seen, *args, **kwargs)
