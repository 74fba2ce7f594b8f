"""Observer: decides which steps are observed, never knowing a reward; and how two compose.

- A decision is a pure function of the lane's seed, the numbers of episode and step, and, where an
  observer says so, of what the agent sees. Nothing is drawn from the environment's generator.
- Every array has a leading axis of lanes, so that one lane and many are the same code.
- `a & b`, `a | b` and `~a` are observers.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
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
    ARRIVAL = 3
    """Also what the agent sees after the step: no flag can tell the decision in advance."""


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
    arrival: Any = None  # [n, ...]


class Decision(NamedTuple):
    """Whether each step is observed, and whether the flag shown to the agent says so."""

    watched: Mask  # [n]
    cue: Mask  # [n]


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
    """Two observers of which each, or either, must watch."""

    rule: Literal["and", "or"]
    first: Observer
    second: Observer

    @property
    def scope(self) -> Scope:
        """What the more demanding of the two must know."""
        return max(self.first.scope, self.second.scope)

    def decide(self, moment: Moment) -> Decision:
        """Combine the two decisions, and the two cues."""
        combine = np.logical_and if self.rule == "and" else np.logical_or
        first, second = self.first.decide(moment), self.second.decide(moment)
        return Decision(combine(first.watched, second.watched), combine(first.cue, second.cue))


@dataclass(frozen=True)
class Unless(Observer):
    """Watches exactly where another observer does not."""

    observer: Observer

    @property
    def scope(self) -> Scope:
        """What the other must know."""
        return self.observer.scope

    def decide(self, moment: Moment) -> Decision:
        """Negate the decision and its cue."""
        watched, cue = self.observer.decide(moment)
        return Decision(~watched, ~cue)


def _observer(other: object) -> Observer:
    if not isinstance(other, Observer):
        raise ValueError(
            f"an observer composes with an observer, got {other!r}: "
            f"for a probability write EpisodeCoin or StepCoin"
        )
    return other
