"""Errors of the overseer: reports that are missing, flipped or imprecise, and noisy flags."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from envs.observers import random_streams
from envs.observers.coins import episode_word, step_word
from envs.observers.observer import (
    Decision,
    Flips,
    InformationLevel,
    Mask,
    Observer,
    StepContext,
    check_count,
    check_observer,
    check_probability,
)

Side = Literal["both", "rewards", "punishments"]

DROPPED, FLIPPED, FLAGGED, SHIFTED = range(4)  # kinds of error, each with draws of its own


def error_word(
    context: StepContext, level: InformationLevel, stream: int, kind: int
) -> random_streams.Words:
    """Draw a word for each lane, independent across kinds of error.

    Args:
        context: The steps.
        level: Information level of the observer that errs; at `EPISODE` a whole episode has one
            draw, above it each step has its own.
        stream: Errors of the same stream fall alike; those of different streams are independent.
        kind: `DROPPED`, `FLIPPED`, `FLAGGED` or `SHIFTED`.
    """
    word = (episode_word if level == InformationLevel.EPISODE else step_word)(context, stream)
    return random_streams.split(word, np.array([kind], dtype=np.uint64))


def draw_error(
    context: StepContext, level: InformationLevel, stream: int, kind: int
) -> NDArray[np.float64]:
    """Draw a uniform number for each lane; the arguments are those of `error_word`."""
    return random_streams.uniform(error_word(context, level, stream, kind))


@dataclass(frozen=True)
class Noisy(Observer):
    """Another observer, whose reports are missing or have the opposite sign by chance.

    If the observer decides by episode, errors hold for whole episodes, else for single steps. A
    step whose report is missing is hidden, and pays like any hidden step. The side of a flip is
    that of the true reward.

    A composition errs if a part that observes the step errs. A report with several errors is
    flipped once. `~Noisy(...)` observes the steps without a report, and does not err.

    Args:
        observer: The observer without errors.
        flip: Chance that the reported reward has the opposite sign.
        miss: Chance that an observed episode or step is not reported.
        side: Flips `"both"` signs, only positive `"rewards"`, or only negative `"punishments"`.
        stream: Errors of the same stream fall alike; they are independent of all coins, and of the
            errors of other streams.
    """

    observer: Observer
    flip: float = 0.0
    miss: float = 0.0
    side: Side = "both"
    stream: int = 1

    def __post_init__(self) -> None:
        check_observer(self.observer)
        check_probability(self.flip, "flip")
        check_probability(self.miss, "miss")
        _check_side(self.side)
        check_count(self.stream, "stream", 0)

    @property
    def information_level(self) -> InformationLevel:
        """The level of the observer."""
        return self.observer.information_level

    def decide(self, context: StepContext) -> Decision:
        """Let the observer decide, then drop and flip reports."""
        decision = self.observer.decide(context)
        level = self.information_level
        dropped = draw_error(context, level, self.stream, DROPPED) < self.miss
        decision = decision._replace(observed=decision.observed & ~dropped)
        if self.flip == 0:
            return decision
        wrong: Mask = draw_error(context, level, self.stream, FLIPPED) < self.flip
        return _flip(decision, wrong, self.side)


@dataclass(frozen=True)
class GaussianNoise(Observer):
    """Another observer, whose reports have Gaussian noise.

    Each observed step is reported as its reward plus a normal variable of mean zero, drawn anew
    for every step. Flips of a `Noisy` come before the noise, and a composition adds the noise of
    all parts that observe the step. `~GaussianNoise(...)` has no noise.

    Args:
        observer: The observer without noise.
        deviation: Standard deviation of the noise, finite and at least 0.
        stream: Noise of the same stream is equal up to its deviation; it is independent of all
            coins and other errors, and of the noise of other streams.
    """

    observer: Observer
    deviation: float
    stream: int = 1

    def __post_init__(self) -> None:
        check_observer(self.observer)
        number = isinstance(self.deviation, int | float | np.integer | np.floating)
        if not number or not 0 <= self.deviation < math.inf:  # false for NaN as well
            raise ValueError(
                f"deviation must be a finite number of at least 0, got {self.deviation!r}"
            )
        check_count(self.stream, "stream", 0)

    @property
    def information_level(self) -> InformationLevel:
        """The level of the observer, but at least `STEP`, since every step has its own noise."""
        return max(InformationLevel.STEP, self.observer.information_level)

    def decide(self, context: StepContext) -> Decision:
        """Let the observer decide, and add noise to the reports."""
        decision = self.observer.decide(context)
        word = error_word(context, self.information_level, self.stream, SHIFTED)
        noise = self.deviation * random_streams.normal(word)
        return decision._replace(noise=noise if decision.noise is None else decision.noise + noise)


@dataclass(frozen=True)
class Adversarial(Observer):
    """Another observer, some of whose episodes an adversary reports with the wrong sign.

    Episodes form blocks of `every`. In each of a lane's first `episodes` blocks, the adversary
    flips the reports of the first observed episode, so that at most `episodes` episodes of a lane
    are reported wrongly. A block without an observed episode leaves its error unspent. The
    adversary knows which episodes will be observed but no reward: an episode without a reward of
    the chosen `side` wastes the error.

    The errors are a pure function of the episode's number, and each lane has a budget of its own.

    Args:
        observer: The observer without errors; it must decide by episode.
        episodes: Number of blocks with an error.
        every: Number of episodes in a block.
        side: Flips `"both"` signs, only positive `"rewards"`, or only negative `"punishments"`. By
            default bad outcomes are reported as good.
    """

    information_level: ClassVar[InformationLevel] = InformationLevel.EPISODE
    observer: Observer
    episodes: int
    every: int = 1
    side: Side = "punishments"

    def __post_init__(self) -> None:
        check_observer(self.observer)
        if self.observer.information_level != InformationLevel.EPISODE:
            raise ValueError(
                f"Adversarial must be given an observer that decides by episode, so that its "
                f"errors can be counted, got {self.observer!r}: write Adversarial(EpisodeCoin(0.1),"
                f" ...) and compose that with other observers"
            )
        check_count(self.episodes, "episodes", 0)
        check_count(self.every, "every", 1)
        _check_side(self.side)

    def decide(self, context: StepContext) -> Decision:
        """Flip the reports of the first observed episode of each block."""
        decision = self.observer.decide(context)
        block, place = np.divmod(context.episode, np.uint64(self.every))
        wrong = decision.observed & (block < self.episodes)
        for earlier in range(self.every - 1):
            episode = block * np.uint64(self.every) + np.uint64(earlier)
            observed = self.observer.decide(context._replace(episode=episode)).observed
            wrong &= ~observed | (place <= earlier)
        return _flip(decision, wrong, self.side)


@dataclass(frozen=True)
class NoisyFlag:
    """An oversight flag in the observation that is wrong by chance.

    The flag announces whether the step taken from an observation is observed; its errors change
    only the flag. Equal probabilities make it err symmetrically, a single one on one side only. If
    the observer decides by episode, errors hold for whole episodes, else for single steps.

    >>> flag = NoisyFlag(miss=0.1)  # a tenth of the observed episodes have no flag

    Args:
        miss: Chance that the flag of an observed step is off.
        false_alarm: Chance that the flag of a hidden step is on.
        stream: Errors of the same stream fall alike; they are independent of those of any `Noisy`.
    """

    miss: float = 0.0
    false_alarm: float = 0.0
    stream: int = 0

    def __post_init__(self) -> None:
        check_probability(self.miss, "miss")
        check_probability(self.false_alarm, "false_alarm")
        check_count(self.stream, "stream", 0)

    def show(self, observed: Mask, context: StepContext, level: InformationLevel) -> Mask:
        """Return each lane's flag, [n].

        Args:
            observed: The observer's decision, [n].
            context: The steps that it was made for.
            level: The observer's information level.
        """
        chance = np.where(observed, self.miss, self.false_alarm)
        wrong: Mask = draw_error(context, level, self.stream, FLAGGED) < chance
        return observed ^ wrong


def _check_side(side: str) -> None:
    if side not in get_args(Side):
        raise ValueError(f"side must be one of {get_args(Side)}, got {side!r}")


def _flip(decision: Decision, wrong: Mask, side: Side) -> Decision:
    """Return the decision with the reports of some more lanes flipped, on one side or both."""
    right = np.zeros_like(wrong)
    flips = Flips(
        right if side == "punishments" else wrong,
        right if side == "rewards" else wrong,
    )
    return decision._replace(flips=flips if decision.flips is None else decision.flips | flips)
