"""The observer protocol: which steps are observed, decided without ever reading a reward.

A decision is a pure function of the lane's seed, of the numbers of the episode and step, and, where
an observer declares it, of what the agent sees and does. Observers draw nothing from the
environment's generator. Every array has a leading axis of lanes, so that a single environment is
the case of one lane. Observers compose: `a & b`, `a | b` and `~a` are observers as well.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs.observers.random_streams import Words

Mask = NDArray[np.bool_]


class InformationLevel(IntEnum):
    """What an observer reads to decide; each level includes those before it."""

    EPISODE = 0
    """The lane's seed and the episode's number: one decision for the whole episode."""
    STEP = 1
    """Also the step's number, and how many steps the lane took before this episode."""
    OBSERVATION = 2
    """Also the observation in which the agent acts."""
    ACTION = 3
    """Also whether the agent's action queries the overseer, so that no flag can precede it."""
    ARRIVAL = 4
    """Also the observation after the step."""


class StepContext(NamedTuple):
    """The step of each lane about which an observer decides.

    Fields above the observer's information level may be None.
    """

    seed: Words  # [n]
    episode: Words  # [n]: 0 after a seeded reset
    step: Words  # [n]: 0 is the first step of an episode
    played: Words  # [n]: steps of the lane in the episodes before this one
    observation: Any = None  # [n, ...]
    asked: Any = None  # [n] booleans: the overseer was queried in this episode, or is by this step
    arrival: Any = None  # [n, ...]


class Flips(NamedTuple):
    """Whose reports have the wrong sign if the true reward is positive, and if it is negative."""

    rewards: Mask  # [n]
    punishments: Mask  # [n]

    def __or__(self, other: "Flips") -> "Flips":
        return Flips(self.rewards | other.rewards, self.punishments | other.punishments)

    def within(self, lanes: Mask) -> "Flips":
        """Keep the flips of the given lanes."""
        return Flips(self.rewards & lanes, self.punishments & lanes)


class Decision(NamedTuple):
    """Which steps are observed, and how far their reports are from the true reward.

    An observed step is reported as its true reward, flipped where `flips` says so, plus `noise`.
    """

    observed: Mask  # [n]
    flips: Flips | None = None  # None if no report can be flipped
    noise: NDArray[np.float64] | None = None  # [n]; None if nothing can be added to a report


class Observer(ABC):
    """Decides which steps are observed. Subclasses are frozen dataclasses."""

    @property
    @abstractmethod
    def information_level(self) -> InformationLevel:
        """The most that `decide` reads of a step's context."""

    @abstractmethod
    def decide(self, context: StepContext) -> Decision:
        """Return the decision about the step of each lane."""

    def __and__(self, other: "Observer") -> "Observer":
        return Combination("and", self, _operand(other))

    def __or__(self, other: "Observer") -> "Observer":
        return Combination("or", self, _operand(other))

    def __invert__(self) -> "Observer":
        return Complement(self)


@dataclass(frozen=True)
class Combination(Observer):
    """Observes the steps that both of two observers observe, or at least one of them.

    A report is flipped, once, if any part that observes the step flips it, and has the noise of
    all parts that observe the step.
    """

    rule: Literal["and", "or"]
    first: Observer
    second: Observer

    @property
    def information_level(self) -> InformationLevel:
        """The higher level of the two parts."""
        return max(self.first.information_level, self.second.information_level)

    def decide(self, context: StepContext) -> Decision:
        """Combine the decisions of both parts."""
        combine = np.logical_and if self.rule == "and" else np.logical_or
        first, second = self.first.decide(context), self.second.decide(context)
        found = [each.flips.within(each.observed) for each in (first, second) if each.flips]
        flips = found[0] | found[-1] if found else None
        noises = [
            np.where(each.observed, each.noise, 0.0)
            for each in (first, second)
            if each.noise is not None
        ]
        noise = np.sum(noises, axis=0) if noises else None
        return Decision(combine(first.observed, second.observed), flips, noise)


@dataclass(frozen=True)
class Complement(Observer):
    """Observes exactly the steps that another observer does not, without errors."""

    observer: Observer

    @property
    def information_level(self) -> InformationLevel:
        """The level of the other observer."""
        return self.observer.information_level

    def decide(self, context: StepContext) -> Decision:
        """Negate the decision; the other observer's errors concern only its own steps."""
        return Decision(~self.observer.decide(context).observed)


def parts(observer: Observer) -> Iterator[Observer]:
    """Yield an observer and all observers that it is composed of, from the outside in."""
    yield observer
    for field in fields(observer):  # type: ignore[arg-type]
        part = getattr(observer, field.name)
        if isinstance(part, Observer):
            yield from parts(part)


def check_observer(observer: object) -> None:
    """Raise a ValueError if the argument is not an observer."""
    if not isinstance(observer, Observer):
        raise ValueError(f"observer must be one of envs.observers, got {observer!r}")


def check_probability(value: float, name: str, highest: float = 1) -> None:
    """Raise a ValueError if a value is not a number from 0 to 1, or to a lower highest one."""
    number = isinstance(value, int | float | np.integer | np.floating)
    if isinstance(value, bool) or not number or not 0 <= value <= highest:  # false for NaN as well
        raise ValueError(f"{name} must be a number from 0 to {highest:g}, got {value!r}")


def check_integer(value: int, name: str, lowest: int, highest: int) -> None:
    """Raise a ValueError if a value is not an integer in a range that includes both bounds."""
    integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not integer or not lowest <= value <= highest:
        raise ValueError(f"{name} must be an integer from {lowest} to {highest}, got {value!r}")


def check_count(value: int, name: str, least: int) -> None:
    """Raise a ValueError if a value is not an integer of at least `least`."""
    integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not integer or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")


def check_function(function: object, name: str, arguments: Sequence[str]) -> None:
    """Raise a ValueError if a function cannot be called with the named positional arguments."""
    expectation = f"{name} must be a function of ({', '.join(arguments)})"
    if not callable(function):
        raise ValueError(f"{expectation}, got {function!r}")
    try:
        signature = inspect.signature(function)
    except ValueError:  # a builtin without a signature is tried when it is called
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        raise ValueError(f"{expectation}, and is never given a reward: {error}") from None


def check_mask(answer: ArrayLike, shape: tuple[int, ...], name: str) -> Mask:
    """Return a predicate's answer as an array.

    Raises:
        ValueError: If it is not one boolean for each lane.
    """
    mask = np.asarray(answer)
    if mask.shape != shape or mask.dtype != np.bool_:
        raise ValueError(
            f"{name} must return {shape} booleans, one for each "
            f"observation, got {mask.dtype} of shape {mask.shape}"
        )
    return mask


def _operand(other: object) -> Observer:
    if not isinstance(other, Observer):
        raise ValueError(
            f"an observer composes with another observer, got {other!r}: "
            f"for a probability write EpisodeCoin or StepCoin"
        )
    return other
