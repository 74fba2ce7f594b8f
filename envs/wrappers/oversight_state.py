"""OversightState: where each lane is in its stream of episodes, and what its observer decides there.

NoisyFlag: the flag that the agent sees errs about who watches; what is observed does not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from envs import random_streams
from envs.observers import Flips, Observer, Query
from envs.observers.coins import check_stream
from envs.observers.noise import CUED, draw_error
from envs.observers.observer import InformationLevel, Mask, StepContext, check_probability, parts


@dataclass(frozen=True)
class NoisyFlag:
    """A flag in the observation that errs by chance: a cue of whether the coming step is observed.

    The same two probabilities make the flag err symmetrically; one of them alone, on one side. With
    an observer by episode it errs for whole episodes, with another at each step.

    >>> flag = NoisyFlag(miss=0.1)  # PartialOversight(env, flag=flag): a tenth goes unannounced

    Args:
        miss: Chance that the flag of an observed step is off.
        false_alarm: Chance that the flag of a hidden step is on.
        stream: As `EpisodeCoin`; errors are independent of those of any `Noisy`.
    """

    miss: float = 0.0
    false_alarm: float = 0.0
    stream: int = 0

    def __post_init__(self) -> None:
        check_probability(self.miss, "miss")
        check_probability(self.false_alarm, "false_alarm")
        check_stream(self.stream)

    def cue(self, watched: Mask, context: StepContext, information_level: InformationLevel) -> Mask:
        """Return what the agent is told of a decision at a context.

        Args:
            watched: The decision.
            context: That it was made for.
            information_level: Of the observer that made it.
        """
        chance = np.where(watched, self.miss, self.false_alarm)
        wrong: Mask = draw_error(context, information_level, self.stream, CUED) < chance
        return watched ^ wrong


Flag = Literal["hidden", "visible"] | NoisyFlag


Lanes = slice | NDArray[np.intp] | Mask

BLOCK = 63  # episodes decided at once where the episode's number is enough: a word less a bit
ONE = np.uint64(1)
END = ONE << np.uint64(BLOCK)
POWERS = ONE << np.arange(BLOCK + 1, dtype=np.uint64)
ROWS = 256  # lanes decided at once there: their words stay in the processor's cache


class OversightState:
    """Counts episodes and steps of every lane and asks the observer about them.

    An observer of information_level `EPISODE` is asked about many episodes at once; any other is asked about
    each step, by `look`.

    Attributes:
        asks: Whether the step that each lane takes next is the first to ask, [n].

    Args:
        observer: Who watches.
        num_lanes: Number of lanes.
        seed: Chooses among the oversights of one level stream.
        flag: What the agents are told.
    """

    def __init__(self, observer: Observer, num_lanes: int, seed: int, *, flag: Flag) -> None:
        self.information_level = observer.information_level
        self.asks: Mask = np.zeros(num_lanes, dtype=np.bool_)
        self._asked: Mask = np.zeros(num_lanes, dtype=np.bool_)  # before that step
        self._query = next((each for each in parts(observer) if isinstance(each, Query)), None)
        self._observer = observer
        self._flag = flag
        self._choice = np.array([seed], dtype=np.uint64)
        self._now: list[Mask] = [np.zeros(num_lanes, dtype=np.bool_)]  # as _masks of the next step
        self._seed, self._episode, self._step, self._played = np.zeros(
            (4, num_lanes), dtype=np.uint64
        )
        # Only an observer by episode has words, one a lane for each of the masks: bit 0 is the
        # decision about the episode that the lane plays, bit 1 that about the next, and so on up
        # to END, which was the highest bit at episode _episode; each `begin` shifts them all down.
        self._words: list[random_streams.Words] = []
        self._slack = 0  # so many calls of `begin` cannot move a lane past its word

    @property
    def watched(self) -> Mask:
        """Whether the step that each lane takes next is observed, [n]."""
        return self._now[0]

    @property
    def cue(self) -> Mask:
        """What the flag says of it, [n]."""
        return self._now[-1]

    @property
    def flips(self) -> Flips | None:
        """Which reports of it are flipped; None of an observer that does not err."""
        return Flips(*self._now[1:3]) if len(self._now) > 2 else None

    def restart(self, seeds: random_streams.Words, lanes: Lanes) -> None:
        """Go to episode 0 of the lanes seeded."""
        # Index 1: the grid's levels come from index 0 of the same sequence.
        lane = random_streams.split(seeds, np.ones(1, dtype=np.uint64))
        self._seed[lanes] = random_streams.split(lane, self._choice)
        for count in (self._episode, self._step, self._played):
            count[lanes] = 0
        for words in self._words:
            words[lanes] = END
        self._asked[lanes] = False
        if self.information_level == InformationLevel.EPISODE:
            self._refill()

    def begin(self, lanes: Lanes) -> None:
        """Go to the next episode of some lanes."""
        if self.information_level != InformationLevel.EPISODE:
            self._played[lanes] += self._step[lanes]
            self._step[lanes] = 0
            self._episode[lanes] += np.uint64(1)
            self._asked[lanes] = False
            return
        self.ahead()
        for now, words in zip(self._now, self._words, strict=True):
            word = words[lanes] >> ONE
            words[lanes] = word
            now[lanes] = (word & ONE).astype(np.bool_)

    def ahead(self) -> tuple[Mask, random_streams.Words]:
        """Return what the next call of `begin` changes, for who does its work instead.

        Of an observer by episode: `watched`, and the words of its decisions, [n]. The word of a
        lane that begins is shifted down by one bit, and `watched` is the lowest that remains.
        """
        if self._slack == 0:
            self._make_room()
        self._slack -= 1
        return self._now[0], self._words[0]

    def tick(self, resting: Lanes) -> None:
        """Count a step of every lane but those that took none."""
        if self.information_level != InformationLevel.EPISODE:
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
        """Decide about the next step of every lane, where that takes more than its episode.

        Args:
            observation: What the agents see before it, [n, ...]; read from information_level `OBSERVATION` on.
            question: Whether their action asks, [n]; read from information_level `ACTION` on, which waits for
                it.
            arrival: What they see after it, [n, ...]; read at information_level `ARRIVAL`.
        """
        if self.information_level == InformationLevel.EPISODE or (
            self.information_level >= InformationLevel.ACTION and question is None
        ):
            return
        asked = None
        if self._query is not None:
            if self._query.rule is not None:
                question = self._query.asks(observation, len(self._asked))
            assert question is not None
            self.asks = question & ~self._asked
            asked = question | self._asked
        counters = self._seed, self._episode, self._step, self._played
        self._now = self._masks(StepContext(*counters, observation, asked, arrival))

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Copy where every lane is, [n] each; what was decided there follows from it."""
        counts = {"step": self._step.copy(), "played": self._played.copy()}
        asked = {"asked": self._asked.copy()}
        return {
            "seed": self._seed.copy(),
            "episode": self._episode + self._played_since(),
            **counts,
            **asked,
        }

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go to where `get_state` was called; `look` must follow, with what the agents see."""
        self._seed[:], self._episode[:] = state["seed"], state["episode"]
        self._step[:], self._played[:] = state["step"], state["played"]
        self._asked[:] = state["asked"]
        self._words = []
        if self.information_level == InformationLevel.EPISODE:
            self._refill()

    def _make_room(self) -> None:
        """See to it that every lane's next episode is in its word."""
        self._slack = int(self._words[0].min()).bit_length() - 2  # so many follow bit 0
        if self._slack == 0:
            self._refill()

    def _played_since(self) -> random_streams.Words:
        """Return how many episodes of each lane's word are over, [n]."""
        if not self._words:
            return np.zeros_like(self._episode)
        lengths = np.searchsorted(POWERS, self._words[0], side="right")  # in bits
        return (BLOCK + 1 - lengths).astype(np.uint64)

    def _refill(self) -> None:
        """Decide about the next episodes of every lane, from the one it plays."""
        self._episode += self._played_since()
        self._slack = BLOCK - 1
        zero = np.zeros((1, 1), dtype=np.uint64)
        decided = []
        for start in range(0, len(self._seed), ROWS):
            rows = slice(start, start + ROWS)
            episode = np.add(self._episode[rows, None], np.arange(BLOCK, dtype=np.uint64))
            decided.append(self._masks(StepContext(self._seed[rows, None], episode, zero, zero)))
        tables = [np.concatenate(masks) for masks in zip(*decided, strict=True)]
        self._words = [np.packbits(each, axis=1, bitorder="little").view("<u8") for each in tables]
        self._words = [words[:, 0].astype(np.uint64) | END for words in self._words]
        self._now = [table[:, 0].copy() for table in tables]

    def _masks(self, context: StepContext) -> list[Mask]:
        """Decide, and return `watched`, the two `flips` if reports can err, and the cue."""
        watched, flips = self._observer.decide(context)
        cue = watched
        if isinstance(self._flag, NoisyFlag):
            cue = self._flag.cue(watched, context, self.information_level)
        masks = [watched, *(flips or ()), *(() if self._flag == "hidden" else (cue,))]
        # copies: what an observer returns may be an array that it keeps
        return [mask.copy() for mask in masks]
