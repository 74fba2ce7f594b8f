"""The options of `PartialOversight`, and what they do to rewards, observations, actions and infos.

The single and the vector wrapper share them. Functions act on arrays with a leading axis of lanes.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import ArrayLike, NDArray

from envs.observers import EpisodeCoin, InformationLevel, NoisyFlag, Observer, Query
from envs.observers.observer import Mask, check_function, check_observer, parts
from envs.wrappers.oversight_state import Flag

Reward = Literal["observed", "proxy", "true"]
Proxy = Callable[[Any, Any, Any, Mask, Mask], ArrayLike]
Numbers = NDArray[np.float64]

OWN_KEYS = ("observed", "observed_reward")
PROXY_ARGUMENTS = ("previous_observation", "action", "observation", "terminated", "truncated")


@dataclass(frozen=True)
class Settings:
    """Who observes, what a step pays, and what the agent is shown.

    Raises:
        ValueError: If an argument is out of its range.
    """

    observer: Observer
    proxy: Proxy | None
    reward: Reward
    flag: Flag
    allow: tuple[str, ...]
    seed: int | None

    def __post_init__(self) -> None:
        if self.reward not in get_args(Reward):
            raise ValueError(f"reward must be one of {get_args(Reward)}, got {self.reward!r}")
        self._check_oversight()
        if self.proxy is not None:
            check_function(self.proxy, "proxy", PROXY_ARGUMENTS)
        if isinstance(self.allow, str) or not all(isinstance(key, str) for key in self.allow):
            raise ValueError(f"allow must be a tuple of info keys, got {self.allow!r}")
        if refused := {*OWN_KEYS, "final_info", "final_obs", "episode"} & set(self.allow):
            raise ValueError(
                f"allow must name keys of the environment itself, got {sorted(refused)}: "
                f"PartialOversight writes its own, and statistics belong outside it"
            )
        integer = isinstance(self.seed, int | np.integer)
        if self.seed is not None and not (integer and 0 <= self.seed < 2**64):
            raise ValueError(f"seed must be None or from 0 to 2**64 - 1, got {self.seed!r}")

    def _check_oversight(self) -> None:
        if not isinstance(self.flag, NoisyFlag) and self.flag not in ("hidden", "visible"):
            raise ValueError(f"flag must be 'hidden', 'visible' or a NoisyFlag, got {self.flag!r}")
        if self.has_flag and self.observer.information_level >= InformationLevel.ACTION:
            raise ValueError(
                f"flag={self.flag!r} shows before a step whether it is observed, which an observer "
                f"of arrivals or of the agent's queries cannot know: take Region(..., at='start'), "
                f"Query(rule=...), or flag='hidden'"
            )
        queries = [each for each in parts(self.observer) if isinstance(each, Query)]
        if len(queries) > 1:
            raise ValueError(
                f"observer must contain at most one Query, so that a query has one price, got "
                f"{queries}: compose one Query with other observers"
            )

    @cached_property
    def has_flag(self) -> bool:
        """Whether the observation has a flag."""
        return self.flag != "hidden"

    @cached_property
    def query(self) -> Query | None:
        """The observer's query, if it contains one."""
        return next((each for each in parts(self.observer) if isinstance(each, Query)), None)

    @cached_property
    def price(self) -> float:
        """The cost of an episode's first query."""
        return 0.0 if self.query is None else self.query.cost

    @cached_property
    def agent_asks(self) -> bool:
        """Whether the agent queries, so that each action has a version with a query."""
        return self.query is not None and self.query.rule is None

    @cached_property
    def reads_observations(self) -> bool:
        """Whether the observer or the proxy reads observations."""
        level = self.observer.information_level
        return self.proxy is not None or level >= InformationLevel.OBSERVATION

    def first_seed(self) -> int:
        """Return the seed of lane 0 for a first reset without a seed."""
        if self.seed is not None:
            return 0
        return int(np.random.SeedSequence().generate_state(1, np.uint64)[0])

    def proxy_rewards(self, *step: Any) -> Numbers:  # noqa: ANN401 (the proxy's arguments)
        """Return the proxy's reward of each lane, [n].

        Raises:
            ValueError: If it is not one finite number for each lane.
        """
        assert self.proxy is not None
        rewards = np.asarray(self.proxy(*step))
        shape = step[-1].shape
        if rewards.shape != shape or rewards.dtype.kind not in "fiub":
            raise ValueError(
                f"proxy must return one reward for each lane, numbers of shape {shape}, "
                f"got {rewards.dtype} of shape {rewards.shape}"
            )
        return check_finite(rewards.astype(np.float64), "proxy")


def choose_observer(observed_probability: float | None, observer: Observer | None) -> Observer:
    """Return the given observer, or an episode coin with the given probability.

    Raises:
        ValueError: If both are given, or the observer is not one.
    """
    if observer is None:
        return EpisodeCoin(0.1 if observed_probability is None else observed_probability)
    if observed_probability is not None:
        raise ValueError(
            f"give observed_probability or observer, not both: "
            f"got {observed_probability!r} and {observer!r}"
        )
    check_observer(observer)
    return observer


def check_finite(rewards: NDArray[Any], source: str) -> NDArray[Any]:
    """Return rewards, or raise a ValueError if one of them is not finite."""
    finite = np.isfinite(rewards)
    if not finite.all():
        raise ValueError(
            f"PartialOversight needs finite rewards, {source} gave "
            f"{rewards[~finite][0]}: repair the environment, or replace its reward in "
            f"a wrapper inside PartialOversight"
        )
    return rewards


def select_infos(infos: Mapping[str, Any], allow: Sequence[str]) -> dict[str, Any]:
    """Return the allowed entries of an environment's infos, with their masks."""
    names = [name for key in allow for name in (key, f"_{key}")]
    return {name: infos[name] for name in names if name in infos}


def flagged_space(space: Space[Any]) -> Space[Any]:
    """Return the space of a single observation with the flag.

    A vector gains an entry at its end, 0 or 1. Planes or an image gain a plane at the end of the
    shorter of their first and last axes, filled with 0 or the space's highest value. `Discrete(n)`
    becomes `Discrete(2 * n)`, whose upper half has the flag.

    Raises:
        ValueError: If the space has no place for the flag.
    """
    if isinstance(space, spaces.Discrete):
        return spaces.Discrete(2 * int(space.n), start=int(space.start), dtype=space.dtype)
    axis = plane_axis(space)
    if isinstance(space, spaces.MultiBinary):
        shape = list(space.shape)
        shape[axis] += 1
        return spaces.MultiBinary(shape if len(shape) > 1 else shape[0])
    assert isinstance(space, spaces.Box)
    plane = space.low.take([0], axis)
    low = np.concatenate([space.low, np.zeros_like(plane)], axis)
    high = np.concatenate([space.high, np.full_like(plane, flag_value(space))], axis)
    return spaces.Box(low, high, dtype=space.dtype.type)


def add_flag(space: Space[Any], observations: Any, flags: Mask) -> NDArray[Any]:  # noqa: ANN401
    """Return observations of a single space, [n, ...], with their flags, [n].

    >>> add_flag(spaces.Discrete(5), np.array([3, 3]), np.array([False, True]))
    array([3, 8])
    """
    array = np.asarray(observations)
    if isinstance(space, spaces.Discrete):
        upper: NDArray[Any] = array + flags * array.dtype.type(space.n)
        return upper
    axis = plane_axis(space) + 1
    shape = list(array.shape)
    shape[axis] = 1
    marks = np.where(flags, array.dtype.type(flag_value(space)), array.dtype.type(0))
    plane = np.broadcast_to(marks.reshape(-1, *[1] * (array.ndim - 1)), shape)
    return np.concatenate([array, plane], axis)


def plane_axis(space: Space[Any]) -> int:
    """Return the axis of a single observation along which the flag is added.

    Raises:
        ValueError: If the space has no such axis, or two that look alike.
    """
    shape = space.shape if isinstance(space, spaces.Box | spaces.MultiBinary) else None
    if shape is not None and len(shape) == 1:
        return 0
    if shape is not None and len(shape) == 3 and shape[0] != shape[2]:
        return 0 if shape[0] < shape[2] else 2
    raise ValueError(
        f"flag='visible' needs a Discrete space, or a Box or MultiBinary one of 1 axis, or of 3 "
        f"axes of which the first or the last numbers the planes (and is the shorter), got "
        f"{space}: flatten the observation inside PartialOversight, or take flag='hidden' and "
        f"read info['observed']"
    )


def flag_value(space: Space[Any]) -> float:
    """Return the value of the flag of an observed step: 1, or an image's highest value."""
    if isinstance(space, spaces.Box) and len(space.shape) == 3:
        highest = float(space.high.max())
        return highest if np.isfinite(highest) else 1.0
    return 1.0


def asking_space(space: Space[Any]) -> spaces.Discrete:
    """Return the space of a single action, each of which can also be taken with a query.

    Raises:
        ValueError: If the space is not discrete.
    """
    if not isinstance(space, spaces.Discrete):
        raise ValueError(
            f"Query() adds the agent's query to a Discrete action space, got {space}: "
            f"let a rule query, as in Query(rule=...), or make the actions discrete inside "
            f"PartialOversight"
        )
    return spaces.Discrete(2 * int(space.n), start=int(space.start), dtype=space.dtype)


def split_action(space: spaces.Discrete, actions: NDArray[Any]) -> tuple[NDArray[Any], Mask]:
    """Return the environment's actions, [n], and which of them came with a query.

    >>> split_action(spaces.Discrete(4), np.array([3, 7]))
    (array([3, 3]), array([False,  True]))

    Raises:
        ValueError: If an action is not an integer of the doubled space.
    """
    low, size = int(space.start), int(space.n)
    if actions.dtype.kind not in "iu" or np.any((actions < low) | (actions >= low + 2 * size)):
        raise ValueError(
            f"actions must be integers from {low} to {low + 2 * size - 1}, of which those from "
            f"{low + size} on query the overseer, got {actions!r}"
        )
    asks: Mask = actions >= low + size
    return np.where(asks, actions - actions.dtype.type(size), actions), asks


def as_batch(value: Any) -> Any:  # noqa: ANN401 (of any space)
    """Return a copy of an observation or action with a leading axis of one lane."""
    if isinstance(value, dict):
        return {key: as_batch(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(as_batch(part) for part in value)
    return np.array(value)[None]


def before_reset(observations: Any, final: Any, ended: Mask) -> Any:  # noqa: ANN401
    """Return the observations after a step and before the resets of same-step autoreset.

    Args:
        observations: After the resets, [n, ...].
        final: Gymnasium's `final_obs`: an array like the observations, or an array of objects.
        ended: The lanes that were reset, [n].
    """
    arrived = deepcopy(observations)
    if isinstance(final, np.ndarray) and final.dtype != np.object_:
        arrived[ended] = final[ended]
        return arrived
    for lane in np.flatnonzero(ended).tolist():
        _write(arrived, lane, final[lane])
    return arrived


def _write(observations: Any, lane: int, observation: Any) -> None:  # noqa: ANN401
    if isinstance(observation, dict):
        for key, part in observation.items():
            _write(observations[key], lane, part)
    elif isinstance(observation, tuple):
        for whole, part in zip(observations, observation, strict=True):
            _write(whole, lane, part)
    else:
        observations[lane] = observation
