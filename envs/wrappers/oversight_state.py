"""The state of oversight: where each lane is, and what its observer decides there."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from envs.observers import (
    Flips,
    InformationLevel,
    NoisyFlag,
    Observer,
    Query,
    StepContext,
    random_streams,
)
from envs.observers.observer import Mask, parts

Flag = Literal["hidden", "visible"] | NoisyFlag
Lanes = slice | NDArray[np.intp] | Mask


class OversightState:
    """Counts the episodes and steps of every lane, and asks the observer about them.

    An observer that decides by episode is asked when an episode begins; any other is asked about
    every step, by `look`.

    Attributes:
        level: The observer's information level.
        observed: Whether the step that each lane takes next is observed, [n].
        shown: What the flag shows of that step, [n]; meaningless if the flag is hidden.
        flips: Which reports of that step are flipped, or None if the observer never errs.
        asks: Whether that step is the first of its episode to query the overseer, [n].

    Args:
        observer: Decides which steps are observed.
        num_lanes: Number of lanes.
        seed: Selects one of many oversights of the same levels.
        flag: What the observation shows of the decisions.
    """

    def __init__(self, observer: Observer, num_lanes: int, seed: int, *, flag: Flag) -> None:
        self.level = observer.information_level
        self.observed: Mask = np.zeros(num_lanes, dtype=np.bool_)
        self.shown: Mask = self.observed.copy()
        self.flips: Flips | None = None
        self.asks: Mask = self.observed.copy()
        self._by_episode = self.level == InformationLevel.EPISODE
        self._asked: Mask = self.observed.copy()  # by earlier steps of the episode
        self._query = next((each for each in parts(observer) if isinstance(each, Query)), None)
        self._observer = observer
        self._flag = flag
        self._choice = np.array([seed], dtype=np.uint64)
        counters = np.zeros((4, num_lanes), dtype=np.uint64)
        self._seed, self._episode, self._step, self._played = counters

    def restart(self, seeds: random_streams.Words, lanes: Lanes) -> None:
        """Go to episode 0 of the given seeds, in some lanes."""
        # Index 1, since the grid's levels come from index 0 of the same sequence.
        lane = random_streams.split(seeds, np.ones(1, dtype=np.uint64))
        self._seed[lanes] = random_streams.split(lane, self._choice)
        for counter in (self._episode, self._step, self._played):
            counter[lanes] = 0
        self._asked[lanes] = False
        if self._by_episode:
            self._decide_episodes(lanes)

    def begin(self, lanes: Lanes) -> None:
        """Go to the next episode of some lanes."""
        self._episode[lanes] += np.uint64(1)
        if self._by_episode:
            self._decide_episodes(lanes)
            return
        self._played[lanes] += self._step[lanes]
        self._step[lanes] = 0
        self._asked[lanes] = False

    def advance(self, resting: Lanes) -> None:
        """Count the step just taken in every lane, except in those that only rested."""
        if self._by_episode:  # decisions do not depend on the step
            return
        self._step += np.uint64(1)
        self._step[resting] -= np.uint64(1)
        if self._query is not None:
            self._asked |= self.asks

    def look(
        self,
        observation: Any = None,  # noqa: ANN401
        question: Mask | None = None,
        arrival: Any = None,  # noqa: ANN401
    ) -> None:
        """Decide about the next step of every lane, if that takes more than the episode's number.

        An observer of level `ACTION` or above decides only in the call that passes `question`.

        Args:
            observation: What the agents see before the step, [n, ...]; read from level
                `OBSERVATION` on.
            question: Whether their actions query the overseer, [n].
            arrival: What they see after the step, [n, ...]; read at level `ARRIVAL`.
        """
        if self._by_episode or (self.level >= InformationLevel.ACTION and question is None):
            return
        asked = None
        if self._query is not None:
            if self._query.rule is not None:
                question = self._query.asks(observation, len(self._asked))
            assert question is not None
            self.asks = question & ~self._asked
            asked = question | self._asked
        counters = self._seed, self._episode, self._step, self._played
        context = StepContext(*counters, observation, asked, arrival)
        observed, flips = self._observer.decide(context)
        # Copies, since an observer may return an array that it goes on writing to.
        self.observed = observed.copy()
        self.flips = None if flips is None else Flips(*(mask.copy() for mask in flips))
        self.shown = self._flag_of(self.observed, context)

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Copy where every lane is, [n] each; all decisions follow from it."""
        return {
            "seed": self._seed.copy(),
            "episode": self._episode.copy(),
            "step": self._step.copy(),
            "played": self._played.copy(),
            "asked": self._asked.copy(),
        }

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go to where `get_state` was called; `look` must follow, with what the agents see."""
        self._seed[:], self._episode[:] = state["seed"], state["episode"]
        self._step[:], self._played[:] = state["step"], state["played"]
        self._asked[:] = state["asked"]
        if self._by_episode:
            self._decide_episodes(slice(None))

    def _decide_episodes(self, lanes: Lanes) -> None:
        """Decide about the running episodes of some lanes."""
        seed, episode = self._seed[lanes], self._episode[lanes]
        zero = np.zeros_like(seed)
        context = StepContext(seed, episode, zero, zero)
        self.observed[lanes], flips = self._observer.decide(context)
        self.shown[lanes] = self._flag_of(self.observed[lanes], context)
        if flips is not None:
            if self.flips is None:
                self.flips = Flips(np.zeros_like(self.observed), np.zeros_like(self.observed))
            self.flips.rewards[lanes], self.flips.punishments[lanes] = flips

    def _flag_of(self, observed: Mask, context: StepContext) -> Mask:
        if isinstance(self._flag, NoisyFlag):
            return self._flag.show(observed, context, self.level)
        return observed
