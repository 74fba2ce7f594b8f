"""Noisy: the overseer's report errs by chance, it misses rewards or has the wrong sign."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from envs import streams
from envs.observers.coins import check_stream, episode_word, step_word
from envs.observers.function import check_probability
from envs.observers.observer import Decision, Flips, Mask, Moment, Observer, Scope, check_observer

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
    def scope(self) -> Scope:
        """What the observer must know."""
        return self.observer.scope

    def decide(self, moment: Moment) -> Decision:
        """Let the observer decide, then lose and flip reports."""
        watched, flips = self.observer.decide(moment)
        lost = draw_error(moment, self.scope, self.stream, LOST) < self.miss
        decision = Decision(watched & ~lost, flips)
        if self.flip == 0:
            return decision
        wrong: Mask = draw_error(moment, self.scope, self.stream, FLIPPED) < self.flip
        return flipped(decision, wrong, self.side)


def draw_error(moment: Moment, scope: Scope, stream: int, kind: int) -> NDArray[np.float64]:
    """Draw a uniform for each lane's episode, or step, independent across kinds of error."""
    word = (episode_word if scope == Scope.EPISODE else step_word)(moment, stream)
    return streams.uniform(streams.split(word, np.array([kind], dtype=np.uint64)))


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
