"""Noisy: the overseer's report errs by chance, it misses rewards or has the wrong sign.

Adversarial: the overseer's report is flipped where it hurts, a stated number of times.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from envs import random_streams
from envs.observers.coins import check_stream, episode_word, step_word
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

LOST, FLIPPED, CUED = range(3)  # errors of a report, and of the flag


@dataclass(frozen=True)
class Noisy(Observer):
    """Another observer whose reports are missing, or of the opposite sign, by chance.

    An observer by episode errs for whole episodes, another at each step. A step whose report is
    missing is hidden, and pays as any hidden step. The side of a flip is that of the true reward.

    A composition errs where a part that watches errs. A report that several errors hit is flipped
    once. `~Noisy(...)` watches where nothing is reported, and does not err.

    Args:
        observer: Who watches.
        flip: Chance that the reported reward has the opposite sign.
        miss: Chance that an observed episode or step is not reported.
        side: Flips `"both"` signs alike, only positive `"rewards"`, or only `"punishments"`.
        stream: As `EpisodeCoin`; errors are independent of all coins, and of errors of another
            stream.
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
        check_side(self.side)
        check_stream(self.stream)

    @property
    def information_level(self) -> InformationLevel:
        """What the observer must know."""
        return self.observer.information_level

    def decide(self, context: StepContext) -> Decision:
        """Let the observer decide, then lose and flip reports."""
        watched, flips = self.observer.decide(context)
        lost = draw_error(context, self.information_level, self.stream, LOST) < self.miss
        decision = Decision(watched & ~lost, flips)
        if self.flip == 0:
            return decision
        wrong: Mask = draw_error(context, self.information_level, self.stream, FLIPPED) < self.flip
        return flipped(decision, wrong, self.side)


def draw_error(
    context: StepContext, information_level: InformationLevel, stream: int, kind: int
) -> NDArray[np.float64]:
    """Draw a uniform for each lane's episode, or step, independent across kinds of error."""
    word = (episode_word if information_level == InformationLevel.EPISODE else step_word)(
        context, stream
    )
    return random_streams.uniform(random_streams.split(word, np.array([kind], dtype=np.uint64)))


def check_side(side: str) -> None:
    """Refuse what is no side.

    Raises:
        ValueError: If it is none.
    """
    if side not in get_args(Side):
        raise ValueError(f"side must be one of {get_args(Side)}, got {side!r}")


def flipped(decision: Decision, wrong: Mask, side: Side) -> Decision:
    """Return the decision with the reports of some more lanes flipped, of one sign or both."""
    right = np.zeros_like(wrong)
    flips = Flips(
        right if side == "punishments" else wrong,
        right if side == "rewards" else wrong,
    )
    return decision._replace(flips=flips if decision.flips is None else decision.flips | flips)


@dataclass(frozen=True)
class Adversarial(Observer):
    """Another observer, with an adversary who flips the reports of some of its episodes.

    **The budget.** At most `episodes` episodes of a lane are reported wrongly: of the first
    `episodes` blocks of `every` consecutive episodes, the first watched one of each. So no error is
    spent where nobody watches, the errors come as early as they can at one a block, and a block in
    which nobody watches leaves its error unspent. The adversary knows who will watch, but no
    reward: an episode without a reward of the `side` wastes the error.

    Like `Budget`, it is a pure function of the episode's number, and each lane has its own.

    Args:
        observer: Who watches, by episode.
        episodes: Errors in all, the blocks in which there is one.
        every: Episodes in a block.
        side: The reports that it flips, as `Noisy`: by default what is bad is reported as good.
    """

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
        check_side(self.side)

    @property
    def information_level(self) -> InformationLevel:
        """It decides by episode."""
        return InformationLevel.EPISODE

    def decide(self, context: StepContext) -> Decision:
        """Find the first watched episode of each episode's block."""
        decision = self.observer.decide(context)
        block, place = np.divmod(context.episode, np.uint64(self.every))
        wrong = decision.watched & (block < self.episodes)
        for earlier in range(self.every - 1):
            episode = block * np.uint64(self.every) + np.uint64(earlier)
            watched = self.observer.decide(context._replace(episode=episode)).watched
            wrong &= ~watched | (place <= earlier)
        return flipped(decision, wrong, self.side)
