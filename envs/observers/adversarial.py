"""Adversarial: the overseer's report is flipped where it hurts, a stated number of times."""

from dataclasses import dataclass

import numpy as np

from envs.observers.function import check_count
from envs.observers.noisy import Side, check_side, flipped
from envs.observers.observer import Decision, Moment, Observer, Scope, check_observer


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
        if self.observer.scope != Scope.EPISODE:
            raise ValueError(
                f"Adversarial must be given an observer that decides by episode, so that its "
                f"errors can be counted, got {self.observer!r}: write Adversarial(EpisodeCoin(0.1),"
                f" ...) and compose that with other observers"
            )
        check_count(self.episodes, "episodes", 0)
        check_count(self.every, "every", 1)
        check_side(self.side)

    @property
    def scope(self) -> Scope:
        """It decides by episode."""
        return Scope.EPISODE

    def decide(self, moment: Moment) -> Decision:
        """Find the first watched episode of each episode's block."""
        decision = self.observer.decide(moment)
        block, place = np.divmod(moment.episode, np.uint64(self.every))
        wrong = decision.watched & (block < self.episodes)
        for earlier in range(self.every - 1):
            episode = block * np.uint64(self.every) + np.uint64(earlier)
            watched = self.observer.decide(moment._replace(episode=episode)).watched
            wrong &= ~watched | (place <= earlier)
        return flipped(decision, wrong, self.side)
