"""Observers that decide by chance alone: coins, schedules of coins, and a budget of episodes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs.observers import random_streams
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
    """Draw one word for each lane's episode; different streams are independent."""
    lane = random_streams.split(context.seed, np.array([stream], dtype=np.uint64))
    return random_streams.split(lane, context.episode)


def step_word(context: StepContext, stream: int) -> random_streams.Words:
    """Draw one word for each lane's step, independent of the episode words of every stream."""
    return random_streams.split(~episode_word(context, stream), context.step)


@dataclass(frozen=True)
class EpisodeCoin(Observer):
    """Observes a whole episode with a given probability.

    A higher probability only adds observed episodes to those of a lower one.

    Args:
        probability: Chance that an episode is observed.
        stream: Coins of the same stream fall alike; coins of different streams are independent.
    """

    information_level: ClassVar[InformationLevel] = InformationLevel.EPISODE
    probability: float
    stream: int = 0

    def __post_init__(self) -> None:
        check_probability(self.probability, "probability")
        check_count(self.stream, "stream", 0)

    def decide(self, context: StepContext) -> Decision:
        """Toss the episode's coin."""
        return Decision(
            random_streams.uniform(episode_word(context, self.stream)) < self.probability
        )


@dataclass(frozen=True)
class StepCoin(Observer):
    """Observes each step with a given probability, independently of all other steps.

    Args:
        probability: Chance that a step is observed.
        stream: Coins of the same stream fall alike; coins of different streams are independent.
    """

    information_level: ClassVar[InformationLevel] = InformationLevel.STEP
    probability: float
    stream: int = 0

    def __post_init__(self) -> None:
        check_probability(self.probability, "probability")
        check_count(self.stream, "stream", 0)

    def decide(self, context: StepContext) -> Decision:
        """Toss the step's coin."""
        return Decision(random_streams.uniform(step_word(context, self.stream)) < self.probability)


@dataclass(frozen=True)
class Schedule(Observer):
    """Observes a whole episode with a probability that changes over training.

    It tosses the same coin as `EpisodeCoin`. A probability of 0 or 1 switches another observer:
    `Schedule(lambda episode: episode < 100) | StepCoin(0.1)` observes everything at first.

    Args:
        probability: Function of the clock, [n] int64, that returns each lane's chance, [n].
        by: What the clock counts from the seeded reset on: `"episode"` gives the episode's number,
            `"step"` the lane's steps before the episode began.
        stream: Coins of the same stream fall alike; coins of different streams are independent.
    """

    probability: Callable[[NDArray[np.int64]], ArrayLike]
    by: Literal["episode", "step"] = "episode"
    stream: int = 0

    def __post_init__(self) -> None:
        check_function(self.probability, "Schedule's probability", ("clock",))
        check_count(self.stream, "stream", 0)
        if self.by not in ("episode", "step"):
            raise ValueError(f"by must be 'episode' or 'step', got {self.by!r}")

    @property
    def information_level(self) -> InformationLevel:
        """An episode's number is known in advance; how many steps precede it is not."""
        return InformationLevel.EPISODE if self.by == "episode" else InformationLevel.STEP

    def decide(self, context: StepContext) -> Decision:
        """Toss the episode's coin with the probability that holds at this time."""
        clock = (context.episode if self.by == "episode" else context.played).astype(np.int64)
        chance = np.asarray(self.probability(clock), dtype=np.float64)
        if chance.shape not in ((), clock.shape) or not np.all((chance >= 0) & (chance <= 1)):
            raise ValueError(
                f"Schedule's probability must return {clock.shape} numbers from 0 to 1 "
                f"for a clock of that shape, got {chance!r}"
            )
        return Decision(random_streams.uniform(episode_word(context, self.stream)) < chance)


@dataclass(frozen=True)
class StepDecay(Observer):
    """Observes each step with a probability that decays by a constant rate per step.

    The t-th step of a lane since the seeded reset, over all its episodes, is observed with
    probability rate**t. It tosses the same coins as `StepCoin`.

    Args:
        rate: Factor by which the probability shrinks with every step; the first has probability 1.
        stream: Coins of the same stream fall alike; coins of different streams are independent.
    """

    information_level: ClassVar[InformationLevel] = InformationLevel.STEP
    rate: float
    stream: int = 0

    def __post_init__(self) -> None:
        check_probability(self.rate, "rate")
        check_count(self.stream, "stream", 0)

    def decide(self, context: StepContext) -> Decision:
        """Toss the step's coin with the probability that the lane's clock gives."""
        chance = np.float64(self.rate) ** (context.played + context.step).astype(np.float64)
        return Decision(random_streams.uniform(step_word(context, self.stream)) < chance)


OBSERVATION_COST = 1000  # cost of an observed episode, in units of an unobserved one


@dataclass(frozen=True)
class Budget(Observer):
    """Observes one of every `every` episodes of a lane until a number of episodes is used up.

    Each lane has a budget of its own, so that lanes do not depend on each other: for F observed
    episodes over n lanes, give each lane F / n. A larger budget only adds observed episodes.

    >>> Budget(10, every=100).cost(500)  # 5 of 500 episodes were observed
    5500

    Args:
        episodes: Total number of observed episodes of a lane.
        every: Length of a block of consecutive episodes. One episode of each block is observed,
            chosen by chance; with 1 the first episodes are.
        stream: Coins of the same stream fall alike; coins of different streams are independent.
    """

    information_level: ClassVar[InformationLevel] = InformationLevel.EPISODE
    episodes: int
    every: int = 1
    stream: int = 0

    def __post_init__(self) -> None:
        check_count(self.stream, "stream", 0)
        check_count(self.episodes, "episodes", 0)
        check_count(self.every, "every", 1)

    def decide(self, context: StepContext) -> Decision:
        """Observe the episodes that are the chosen one of their block."""
        block, place = np.divmod(context.episode, np.uint64(self.every))
        word = episode_word(context._replace(episode=block), self.stream)
        chosen: random_streams.Words = word % np.uint64(self.every)
        return Decision((place == chosen) & (block < self.episodes))

    def cost(self, num_episodes: int) -> int:
        """Return the cost N + 1000 F of a lane's N episodes, of which F are observed.

        An episode costs 1, and observing it 1000 more, as in Christiano 2016, "Semi-supervised
        reinforcement learning". An incomplete last block counts as not observed.
        """
        return num_episodes + OBSERVATION_COST * min(num_episodes // self.every, self.episodes)
