"""Budget: a fixed number of observed episodes in all, and what they cost."""

from dataclasses import dataclass

import numpy as np

from envs import streams
from envs.observers.coins import check_stream, episode_word
from envs.observers.function import check_count
from envs.observers.observer import Decision, Moment, Observer, Scope

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
    def scope(self) -> Scope:
        """It decides by episode."""
        return Scope.EPISODE

    def decide(self, moment: Moment) -> Decision:
        """Find the episode's block and whether it is the chosen one of it."""
        block, place = np.divmod(moment.episode, np.uint64(self.every))
        word = episode_word(moment._replace(episode=block), self.stream)
        chosen: streams.Words = word % np.uint64(self.every)
        watched = (place == chosen) & (block < self.episodes)
        return Decision(watched)

    def cost(self, num_episodes: int) -> int:
        """Return N + 1000 F for the N episodes of a lane, F of them observed.

        An episode costs one and watching it a thousand more, as in Christiano 2016,
        "Semi-supervised reinforcement learning". A block of `every` episodes that N cuts is
        counted as not yet watched.
        """
        return num_episodes + PRICE * min(num_episodes // self.every, self.episodes)
