"""Observer: decides which steps are observed, never knowing a reward; and how two compose.

- A decision is a pure function of the lane's seed, the numbers of episode and step, and, where an
  observer says so, of what the agent sees or asks. Nothing is drawn from the environment's
  generator.
- Every array has a leading axis of lanes, so that one lane and many are the same code.
- `a & b`, `a | b` and `~a` are observers.

Checks of what a user hands to an observer or wrapper: numbers, functions and their answers.

What a function can reach: a walk that finds an environment in which it could read a reward.
"""

import functools
import inspect
import types
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, Literal, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import ArrayLike, NDArray

from envs.random_streams import Words

Mask = NDArray[np.bool_]


class InformationLevel(IntEnum):
    """What an observer must know to decide; a composition must know the most of its parts."""

    EPISODE = 0
    """The lane's seed and the episode's number: one decision for the whole episode."""
    STEP = 1
    """Also the step's number and how long the lane has played."""
    OBSERVATION = 2
    """Also what the agent sees as it acts."""
    ACTION = 3
    """Also whether the agent asks with its action: no flag can tell the decision in advance."""
    ARRIVAL = 4
    """Also what the agent sees after the step."""


class StepContext(NamedTuple):
    """The step about to be taken in each lane; later fields are None below their information_level.

    Numbers broadcast: an observer of information_level `EPISODE` is asked with seeds [n, 1] about many
    episodes [n, m] at once, and answers [n, m].
    """

    seed: Words  # [n]
    episode: Words  # [n]: 0 after a seeded reset
    step: Words  # [n]: 0 is the first step of an episode
    played: Words  # [n]: steps of the lane in the episodes before this one
    observation: Any = None  # [n, ...]
    asked: Any = None  # [n] booleans: the overseer was asked in this episode, or is by this step
    arrival: Any = None  # [n, ...]


class Flips(NamedTuple):
    """Which reports have the opposite sign, where the true reward is positive or negative."""

    rewards: Mask  # [n]
    punishments: Mask  # [n]

    def __or__(self, other: "Flips") -> "Flips":
        return Flips(self.rewards | other.rewards, self.punishments | other.punishments)

    def within(self, lanes: Mask) -> "Flips":
        """Keep the flips of some lanes."""
        return Flips(self.rewards & lanes, self.punishments & lanes)


class Decision(NamedTuple):
    """Whether each step is observed, and which reports of observed steps are flipped, if any."""

    watched: Mask  # [n]
    flips: Flips | None = None


class Observer(ABC):
    """Decides which steps are observed. Subclasses are frozen records."""

    @property
    @abstractmethod
    def information_level(self) -> InformationLevel:
        """What `decide` reads of a context, and must be told."""

    @abstractmethod
    def decide(self, context: StepContext) -> Decision:
        """Return the decision for the context of each lane."""

    def __and__(self, other: "Observer") -> "Observer":
        return Both("and", self, _observer(other))

    def __or__(self, other: "Observer") -> "Observer":
        return Both("or", self, _observer(other))

    def __invert__(self) -> "Observer":
        return Unless(self)


@dataclass(frozen=True)
class Both(Observer):
    """Two observers of which each, or either, must watch.

    A report is flipped where a part that watches flips it: once, even if both do.
    """

    rule: Literal["and", "or"]
    first: Observer
    second: Observer

    @property
    def information_level(self) -> InformationLevel:
        """What the more demanding of the two must know."""
        return max(self.first.information_level, self.second.information_level)

    def decide(self, context: StepContext) -> Decision:
        """Combine the two decisions, and the errors of who watches."""
        combine = np.logical_and if self.rule == "and" else np.logical_or
        first, second = self.first.decide(context), self.second.decide(context)
        found = [each.flips.within(each.watched) for each in (first, second) if each.flips]
        flips = found[0] | found[-1] if found else None
        return Decision(combine(first.watched, second.watched), flips)


@dataclass(frozen=True)
class Unless(Observer):
    """Watches exactly where another observer does not, and reports what is true there."""

    observer: Observer

    @property
    def information_level(self) -> InformationLevel:
        """What the other must know."""
        return self.observer.information_level

    def decide(self, context: StepContext) -> Decision:
        """Negate the decision; errors are the other's own."""
        return Decision(~self.observer.decide(context).watched)


def parts(observer: Observer) -> Iterator[Observer]:
    """Yield an observer and all that it is composed of, from the outside in."""
    yield observer
    for field in fields(observer):  # type: ignore[arg-type]
        part = getattr(observer, field.name)
        if isinstance(part, Observer):
            yield from parts(part)


def check_observer(observer: object) -> None:
    """Refuse what is no observer.

    Raises:
        ValueError: If it is none.
    """
    if not isinstance(observer, Observer):
        raise ValueError(f"observer must be one of envs.observers, got {observer!r}")


def _observer(other: object) -> Observer:
    if not isinstance(other, Observer):
        raise ValueError(
            f"an observer composes with an observer, got {other!r}: "
            f"for a probability write EpisodeCoin or StepCoin"
        )
    return other


DEPTH = 5  # from a function to an object in a container of an attribute of what it is bound to


def held_environment(function: object) -> object | None:
    """Return an environment that a function can reach, or None.

    Looked through are closures, defaults, global names, `functools.partial`, what a method is bound
    to, the attributes of objects, and containers, to a depth of `DEPTH`. A function that means to
    hide an environment can: this finds the one that got in by mistake.
    """
    seen: set[int] = set()
    level: list[object] = [function]
    for _ in range(DEPTH):
        fresh = [each for each in level if id(each) not in seen]
        seen.update(id(each) for each in fresh)
        for each in fresh:
            if _is_environment(each):
                return each
        level = [part for each in fresh for part in _reached(each)]
    return None


def _is_environment(value: object) -> bool:
    if isinstance(value, type):
        return False
    # SB3's vector environments by name, so that they need no import
    names = {parent.__name__ for parent in type(value).__mro__}
    return isinstance(value, gym.Env | VectorEnv) or "VecEnv" in names


def _reached(value: object) -> Iterator[object]:
    """Yield what is one step away."""
    if isinstance(value, types.FunctionType):
        yield from _of_function(value)
    elif isinstance(value, types.MethodType):
        yield from (value.__self__, value.__func__)
    elif isinstance(value, functools.partial):
        yield from (value.func, *value.args, *value.keywords.values())
    elif isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        yield from value
    elif not isinstance(value, type | types.ModuleType):
        yield from _of_object(value)


def _of_function(function: types.FunctionType) -> Iterator[object]:
    yield from (_content(cell) for cell in function.__closure__ or ())
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    yield from vars(function).values()
    for name in _global_names(function.__code__):
        yield function.__globals__.get(name)


def _global_names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):  # a function inside
            yield from _global_names(constant)


def _of_object(value: Any) -> Iterator[object]:  # noqa: ANN401 (of any class)
    yield getattr(value, "__self__", None)  # of a builtin method
    yield from getattr(value, "__dict__", {}).values()
    for parent in type(value).__mro__:
        for name in getattr(parent, "__slots__", ()):
            yield getattr(value, name, None)
    call = getattr(type(value), "__call__", None)  # noqa: B004 (the method itself is walked)
    if isinstance(call, types.FunctionType):
        yield call


def _content(cell: Any) -> object:  # noqa: ANN401 (a closure's cell)
    try:
        return cell.cell_contents
    except ValueError:  # the variable was never assigned
        return None


def check_probability(value: float, name: str) -> None:
    """Refuse what is not a probability.

    Raises:
        ValueError: If it is not a number from 0 to 1.
    """
    number = isinstance(value, int | float | np.integer | np.floating)
    if not number or not 0 <= value <= 1:  # false for NaN as well
        raise ValueError(f"{name} must be a number from 0 to 1, got {value!r}")


def check_count(value: int, name: str, least: int) -> None:
    """Refuse what does not count.

    Raises:
        ValueError: If it is not an integer of at least `least`.
    """
    integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not integer or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")


def check_function(function: object, name: str, arguments: Sequence[str]) -> None:
    """Refuse a function that cannot be called as promised, or that holds an environment.

    Raises:
        ValueError: If it takes other arguments, or an environment can be reached from it, in which
            it could read the true reward.
    """
    said = f"{name} must be a function of ({', '.join(arguments)})"
    if not callable(function):
        raise ValueError(f"{said}, got {function!r}")
    held = held_environment(function)
    if held is not None:
        raise ValueError(
            f"{said}; {function!r} holds the environment {type(held).__name__}, in which it could "
            f"read the true reward: write it as a function of its arguments alone"
        )
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        raise ValueError(f"{said} and is given nothing else, no reward either: {error}") from None
    except ValueError:  # a builtin without a signature is tried when it is called
        return


def check_mask(answer: ArrayLike, shape: tuple[int, ...], name: str) -> NDArray[np.bool_]:
    """Return a predicate's answer as an array.

    Raises:
        ValueError: If it is not one boolean a lane.
    """
    mask = np.asarray(answer)
    if mask.shape != shape or mask.dtype != np.bool_:
        raise ValueError(
            f"{name} must return {shape} booleans, one for each "
            f"observation, got {mask.dtype} of shape {mask.shape}"
        )
    return mask
