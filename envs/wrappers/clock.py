"""Clock: where each lane is in its stream of episodes, and what its observer decides there."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs import streams
from envs.observers import Moment, Observer, Scope
from envs.observers.observer import Mask

Lanes = slice | NDArray[np.intp]

BLOCK = 64  # episodes decided at once where the episode's number is enough to decide
ROWS = 256  # lanes decided at once there: their words stay in the processor's cache


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
        cued: Whether anybody reads `cue`.
    """

    def __init__(self, observer: Observer, num_lanes: int, seed: int, *, cued: bool) -> None:
        self.scope = observer.scope
        self._observer = observer
        self._cued = cued
        self._choice = np.array([seed], dtype=np.uint64)
        self.watched: Mask = np.zeros(num_lanes, dtype=np.bool_)
        self.cue: Mask = np.zeros(num_lanes, dtype=np.bool_)
        self._seed, self._episode, self._step, self._played = np.zeros(
            (4, num_lanes), dtype=np.uint64
        )
        # Only an observer by episode has tables and places in them: the decision of the episode
        # that a lane plays is at _place, which is lane * BLOCK + its number less _episode.
        self._tables = np.zeros((1 + cued, num_lanes * BLOCK), dtype=np.bool_)
        self._first = np.arange(num_lanes, dtype=np.intp) * BLOCK
        self._place = self._first.copy()
        self._slack = 0  # so many calls of `begin` cannot move a lane past its row

    def restart(self, seeds: streams.Words, lanes: Lanes) -> None:
        """Go to episode 0 of the lanes seeded."""
        # Index 1: the grid's levels come from index 0 of the same sequence.
        lane = streams.split(seeds, np.ones(1, dtype=np.uint64))
        self._seed[lanes] = streams.split(lane, self._choice)
        for count in (self._episode, self._step, self._played):
            count[lanes] = 0
        self._place[lanes] = self._first[lanes]
        if self.scope == Scope.EPISODE:
            self._refill()

    def begin(self, lanes: Lanes) -> None:
        """Go to the next episode of some lanes."""
        if self.scope != Scope.EPISODE:
            self._played[lanes] += self._step[lanes]
            self._step[lanes] = 0
            self._episode[lanes] += np.uint64(1)
            return
        if self._slack == 0:
            self._make_room()
        self._slack -= 1
        place = self._place[lanes] + 1
        self._place[lanes] = place
        self.watched[lanes] = self._tables[0].take(place)
        if self._cued:
            self.cue[lanes] = self._tables[1].take(place)

    def tick(self, resting: Lanes) -> None:
        """Count a step of every lane but those that took none."""
        if self.scope != Scope.EPISODE:
            self._step += np.uint64(1)
            self._step[resting] -= np.uint64(1)

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

    def get_state(self) -> dict[str, streams.Words]:
        """Copy where every lane is, [n] each; what was decided there follows from it."""
        ahead = (self._place - self._first).astype(np.uint64)
        counts = {"step": self._step.copy(), "played": self._played.copy()}
        return {"seed": self._seed.copy(), "episode": self._episode + ahead, **counts}

    def set_state(self, state: Mapping[str, streams.Words]) -> None:
        """Go to where `get_state` was called; `look` must follow, with what the agents see."""
        self._seed[:], self._episode[:] = state["seed"], state["episode"]
        self._step[:], self._played[:] = state["step"], state["played"]
        self._place[:] = self._first
        if self.scope == Scope.EPISODE:
            self._refill()

    def _make_room(self) -> None:
        """See to it that every lane's next episode is in its row."""
        used = int((self._place - self._first).max()) + 1
        if used == BLOCK:
            self._refill()
        else:
            self._slack = BLOCK - used

    def _refill(self) -> None:
        """Decide about the next episodes of every lane, from the one it plays."""
        self._episode += (self._place - self._first).astype(np.uint64)
        self._place[:] = self._first
        self._slack = BLOCK - 1
        zero = np.zeros((1, 1), dtype=np.uint64)
        for start in range(0, len(self._first), ROWS):
            rows = slice(start, start + ROWS)
            episode = np.add(self._episode[rows, None], np.arange(BLOCK, dtype=np.uint64))
            moment = Moment(self._seed[rows, None], episode, zero, zero)
            for table, decided in zip(self._tables, self._observer.decide(moment), strict=False):
                table.reshape(-1, BLOCK)[rows] = decided
        for now, table in zip((self.watched, self.cue), self._tables, strict=False):
            now[:] = table.take(self._first)
