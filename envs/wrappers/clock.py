"""Clock: where each lane is in its stream of episodes, and what its observer decides there."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs import streams
from envs.observers import Moment, Observer, Scope
from envs.observers.observer import Mask

Lanes = slice | NDArray[np.intp]

BLOCK = 64  # episodes decided at once where the episode's number is enough to decide


class Clock:
    """Counts episodes and steps of every lane and asks the observer about them.

    An observer of scope `EPISODE` is asked about many episodes at once; any other is asked about
    each step, by `look`.

    Attributes:
        watched: Whether the step that each lane takes next is observed, [n].
        cue: What the flag says of it, [n].

    Args:
        observer: Who watches.
        num_lanes: Number of lanes.
        seed: Chooses among the oversights of one level stream.
    """

    def __init__(self, observer: Observer, num_lanes: int, seed: int) -> None:
        self.scope = observer.scope
        self._observer = observer
        self._choice = np.uint64(seed)
        self.watched: Mask = np.zeros(num_lanes, dtype=np.bool_)
        self.cue: Mask = np.zeros(num_lanes, dtype=np.bool_)
        self._seed, self._episode, self._step, self._played = np.zeros(
            (4, num_lanes), dtype=np.uint64
        )
        # The episode that a lane plays is number _episode + _cursor; its decision is in column
        # _cursor of the tables. Only an observer by episode has tables or moves the cursor.
        self._cursor = np.zeros(num_lanes, dtype=np.intp)
        self._tables = np.zeros((2, num_lanes, BLOCK), dtype=np.bool_)

    def restart(self, seeds: streams.Words, lanes: Lanes) -> None:
        """Go to episode 0 of the lanes seeded."""
        # Index 1: the grid's levels come from index 0 of the same sequence.
        lane = streams.split(seeds, np.uint64(1))
        self._seed[lanes] = streams.split(lane, self._choice)
        for count in (self._episode, self._step, self._played, self._cursor):
            count[lanes] = 0
        if self.scope == Scope.EPISODE:
            self._refill()

    def begin(self, lanes: Lanes) -> None:
        """Go to the next episode of some lanes."""
        if self.scope != Scope.EPISODE:
            self._played[lanes] += self._step[lanes]
            self._step[lanes] = 0
            self._episode[lanes] += np.uint64(1)
            return
        cursor = self._cursor[lanes] + 1
        self._cursor[lanes] = cursor
        if cursor.max() == BLOCK:
            self._refill()
            return
        rows = np.arange(len(self._cursor)) if isinstance(lanes, slice) else lanes
        self.watched[lanes] = self._tables[0][rows, cursor]
        self.cue[lanes] = self._tables[1][rows, cursor]

    def tick(self, live: Mask) -> None:
        """Count a step of the lanes that took one."""
        if self.scope != Scope.EPISODE:
            self._step += live

    def look(self, observation: Any = None, arrival: Any = None) -> None:  # noqa: ANN401
        """Decide about the next step of every lane, where that takes more than its episode.

        Args:
            observation: What the agents see before it, [n, ...]; read from scope `OBSERVATION` on.
            arrival: What they see after it, [n, ...]; read at scope `ARRIVAL`.
        """
        if self.scope == Scope.EPISODE or (self.scope == Scope.ARRIVAL and arrival is None):
            return
        moment = Moment(self._seed, self._episode, self._step, self._played, observation, arrival)
        # a copy: what an observer returns may be an array that it keeps
        self.watched, self.cue = (mask.copy() for mask in self._observer.decide(moment))

    def _refill(self) -> None:
        """Decide about the next episodes of every lane, from the one it plays."""
        self._episode += self._cursor.astype(np.uint64)
        self._cursor[:] = 0
        ahead = np.arange(BLOCK, dtype=np.uint64)
        zeros = np.zeros(len(self._seed) * BLOCK, dtype=np.uint64)
        moment = Moment(
            seed=self._seed.repeat(BLOCK),
            episode=(self._episode[:, None] + ahead).reshape(-1),
            step=zeros,
            played=zeros,
        )
        for table, decided in zip(self._tables, self._observer.decide(moment), strict=True):
            table[:] = decided.reshape(table.shape)
        self.watched[:], self.cue[:] = self._tables[:, :, 0]
