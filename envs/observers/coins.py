"""Coins: each episode, or each step, is observed with a probability.

Budget: a fixed number of observed episodes in all, and what they cost.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs import random_streams
from envs.observers.observer import (
    Decision,
    InformationLevel,
    Observer,
    StepContext,
    check_count,
    check_function,
    check_probability,
)


def episode_word(context: StepContext, stream: int) -> random_streams.Words:
    """Draw one word for each lane's episode; other streams are independent of it."""
    lane = random_streams.split(context.seed, np.array([stream], dtype=np.uint64))
    return random_streams.split(lane, context.episode)


def step_word(context: StepContext, stream: int) -> random_streams.Words:
    """Draw one word for each lane's step, independent of the episode's of every stream."""
    return random_streams.split(~episode_word(context, stream), context.step)


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
    def information_level(self) -> InformationLevel:
        """It decides by episode."""
        return InformationLevel.EPISODE

    def decide(self, context: StepContext) -> Decision:
        """Toss the episode's coin."""
        watched = random_streams.uniform(episode_word(context, self.stream)) < self.probability
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
    def information_level(self) -> InformationLevel:
        """It decides at each step."""
        return InformationLevel.STEP

    def decide(self, context: StepContext) -> Decision:
        """Toss the step's coin."""
        watched = random_streams.uniform(step_word(context, self.stream)) < self.probability
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
    def information_level(self) -> InformationLevel:
        """The episode's number is known long before; the clock of steps is not."""
        return InformationLevel.EPISODE if self.by == "episode" else InformationLevel.STEP

    def decide(self, context: StepContext) -> Decision:
        """Toss the episode's coin with the probability of the time."""
        clock = (context.episode if self.by == "episode" else context.played).astype(np.int64)
        chance = np.asarray(self.probability(clock), dtype=np.float64)
        if chance.shape not in ((), clock.shape) or not np.all((chance >= 0) & (chance <= 1)):
            raise ValueError(
                f"Schedule's probability must return {clock.shape} numbers from 0 to 1 "
                f"for a clock of that shape, got {chance!r}"
            )
        watched = random_streams.uniform(episode_word(context, self.stream)) < chance
        return Decision(watched)


PRICE = 1000  # of an observed episode, in unobserved ones


@dataclass(frozen=True)
class Budget(Observer):
    """Watches one of every so many episodes of a lane until a number is used up.

    Each lane has its own budget, so that a lane does not depend on its neighbors: for F observed
    episodes on n lanes give each F / n. A larger budget only adds observed episodes.

    >>> Budget(10, every=100).cost(500)  # 5 of 500 episodes were watched
    5500

    Args:
        episodes: Observed episodes of a lane in all.
        every: Of this many consecutive episodes one is observed, at a place drawn by chance; 1
            watches the first ones.
        stream: As `EpisodeCoin`.
    """

    episodes: int
    every: int = 1
    stream: int = 0

    def __post_init__(self) -> None:
        check_stream(self.stream)
        check_count(self.episodes, "episodes", 0)
        check_count(self.every, "every", 1)

    @property
    def information_level(self) -> InformationLevel:
        """It decides by episode."""
        return InformationLevel.EPISODE

    def decide(self, context: StepContext) -> Decision:
        """Find the episode's block and whether it is the chosen one of it."""
        block, place = np.divmod(context.episode, np.uint64(self.every))
        word = episode_word(context._replace(episode=block), self.stream)
        chosen: random_streams.Words = word % np.uint64(self.every)
        watched = (place == chosen) & (block < self.episodes)
        return Decision(watched)

    def cost(self, num_episodes: int) -> int:
        """Return N + 1000 F for the N episodes of a lane, F of them observed.

        An episode costs one and watching it a thousand more, as in Christiano 2016,
        "Semi-supervised reinforcement learning". A block of `every` episodes that N cuts is
        counted as not yet watched.
        """
        return num_episodes + PRICE * min(num_episodes // self.every, self.episodes)
