"""Observer: decides which steps are observed, never knowing a reward; and how two compose.

- A decision is a pure function of the lane's seed, the numbers of episode and step, and, where an
  observer says so, of what the agent sees or asks. Nothing is drawn from the environment's
  generator.
- Every array has a leading axis of lanes, so that one lane and many are the same code.
- `a & b`, `a | b` and `~a` are observers.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.streams import Words

Mask = NDArray[np.bool_]


class Scope(IntEnum):
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


class Moment(NamedTuple):
    """The step about to be taken in each lane; later fields are None below their scope.

    Numbers broadcast: an observer of scope `EPISODE` is asked with seeds [n, 1] about many
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
    def scope(self) -> Scope:
        """What `decide` reads of a moment, and must be told."""

    @abstractmethod
    def decide(self, moment: Moment) -> Decision:
        """Return the decision for the moment of each lane."""

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
    def scope(self) -> Scope:
        """What the more demanding of the two must know."""
        return max(self.first.scope, self.second.scope)

    def decide(self, moment: Moment) -> Decision:
        """Combine the two decisions, and the errors of who watches."""
        combine = np.logical_and if self.rule == "and" else np.logical_or
        first, second = self.first.decide(moment), self.second.decide(moment)
        found = [each.flips.within(each.watched) for each in (first, second) if each.flips]
        flips = found[0] | found[-1] if found else None
        return Decision(combine(first.watched, second.watched), flips)


@dataclass(frozen=True)
class Unless(Observer):
    """Watches exactly where another observer does not, and reports what is true there."""

    observer: Observer

    @property
    def scope(self) -> Scope:
        """What the other must know."""
        return self.observer.scope

    def decide(self, moment: Moment) -> Decision:
        """Negate the decision; errors are the other's own."""
        return Decision(~self.observer.decide(moment).watched)


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
