"""Coins: each episode, or each step, is observed with a probability."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs import streams
from envs.observers.function import check_function, check_probability
from envs.observers.observer import Decision, Moment, Observer, Scope


def episode_word(moment: Moment, stream: int) -> streams.Words:
    """Draw one word for each lane's episode; other streams are independent of it."""
    lane = streams.split(moment.seed, np.array([stream], dtype=np.uint64))
    return streams.split(lane, moment.episode)


def step_word(moment: Moment, stream: int) -> streams.Words:
    """Draw one word for each lane's step, independent of the episode's of every stream."""
    return streams.split(~episode_word(moment, stream), moment.step)


def check_stream(stream: int) -> None:
    """Refuse what does not number a stream.

    Raises:
        ValueError: If it is not an integer of at least 0.
    """
    if not isinstance(stream, int | np.integer) or stream < 0:
        raise ValueError(f"stream must be an integer of at least 0, got {stream!r}")


@dataclass(frozen=True)
class EpisodeCoin(Observer):
    """Watches a whole episode with a probability.

    A higher probability only adds observed episodes: rates are nested.

    Args:
        probability: Chance that an episode is observed.
        stream: Coins of one stream are the same coin, those of two are independent.
    """

    probability: float
    stream: int = 0

    def __post_init__(self) -> None:
        check_probability(self.probability, "probability")
        check_stream(self.stream)

    @property
    def scope(self) -> Scope:
        """It decides by episode."""
        return Scope.EPISODE

    def decide(self, moment: Moment) -> Decision:
        """Toss the episode's coin."""
        watched = streams.uniform(episode_word(moment, self.stream)) < self.probability
        return Decision(watched)


@dataclass(frozen=True)
class StepCoin(Observer):
    """Watches each step with a probability, independently. Arguments as `EpisodeCoin`."""

    probability: float
    stream: int = 0

    def __post_init__(self) -> None:
        check_probability(self.probability, "probability")
        check_stream(self.stream)

    @property
    def scope(self) -> Scope:
        """It decides at each step."""
        return Scope.STEP

    def decide(self, moment: Moment) -> Decision:
        """Toss the step's coin."""
        watched = streams.uniform(step_word(moment, self.stream)) < self.probability
        return Decision(watched)


@dataclass(frozen=True)
class Schedule(Observer):
    """Watches a whole episode with a probability that changes over training.

    It tosses the coin of `EpisodeCoin`. A probability of 0 or 1 switches another observer:
    `Schedule(lambda episode: episode < 100) | StepCoin(0.1)` watches all at first.

    Args:
        probability: From the lane's clock, [n] int64, to the chance of each lane, [n].
        by: The clock: the number of the `"episode"`, or of the lane's `"step"` with which the
            episode began, counted from the seeded reset.
        stream: As `EpisodeCoin`.
    """

    probability: Callable[[NDArray[np.int64]], ArrayLike]
    by: Literal["episode", "step"] = "episode"
    stream: int = 0

    def __post_init__(self) -> None:
        check_function(self.probability, "Schedule's probability", ("clock",))
        check_stream(self.stream)
        if self.by not in ("episode", "step"):
            raise ValueError(f"by must be 'episode' or 'step', got {self.by!r}")

    @property
    def scope(self) -> Scope:
        """The episode's number is known long before; the clock of steps is not."""
        return Scope.EPISODE if self.by == "episode" else Scope.STEP

    def decide(self, moment: Moment) -> Decision:
        """Toss the episode's coin with the probability of the time."""
        clock = (moment.episode if self.by == "episode" else moment.played).astype(np.int64)
        chance = np.asarray(self.probability(clock), dtype=np.float64)
        if chance.shape not in ((), clock.shape) or not np.all((chance >= 0) & (chance <= 1)):
            raise ValueError(
                f"Schedule's probability must return {clock.shape} numbers from 0 to 1 "
                f"for a clock of that shape, got {chance!r}"
            )
        watched = streams.uniform(episode_word(moment, self.stream)) < chance
        return Decision(watched)
