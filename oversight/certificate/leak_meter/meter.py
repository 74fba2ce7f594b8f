"""The leak meter: which channels predict hidden rewards, and by how much.

A certificate shows that replacing hidden rewards changes nothing, as long as nothing but the reward
tells them. It cannot see that an observation, the end of an episode or its length depends on them.
The meter can: it plays the environment, and predicts the true reward of hidden steps, and the true
return of hidden episodes, from what the learner sees of them.

It measures information, and cannot know what is meant to be seen. Where the observation shows the
whole world, an agent that knows the rule can compute every reward, which is the task itself and no
fault of the oversight. Constant rewards have nothing to tell, and the action is the agent's own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from rich.table import Table
from rich.text import Text

from oversight.certificate.leak_meter.playing import Cases, Episode, Policy, collect, play
from oversight.certificate.leak_meter.scoring import (
    Judge,
    Matrix,
    Question,
    Score,
    pose,
    predict,
    shuffle,
)
from oversight.certificate.setup import Setup
from oversight.runs.console import plain_table

CHANNELS = ("observation", "terminated", "truncated", "length", "info", "payment")
"""What an environment returns; `payment` is what a hidden step pays, such as a proxy reward."""
ALL, ACTION, BOTH = "all of these", "action", "all and action"

MAX_ROWS = 2 * len(CHANNELS) + 5
"""Rows of a whole report, which share the confidence of its intervals."""

EPISODES = 2000
"""Episodes that are played unless another number is asked for."""

Unit = Literal["steps", "episodes"]
QUANTITY: Mapping[str, str] = {"steps": "reward", "episodes": "return"}


@dataclass(frozen=True)
class Row:
    """How well one channel, or all of them, predicts what is hidden.

    Attributes:
        channel: its name.
        score: on held-out episodes.
        control: the same with shuffled truths, which nothing can tell.
        tells: whether the score is above chance, with confidence; for `all and action`, whether it
            is above that of the action alone. Never for the action, which is the agent's own.
        copies: the features that equal what is hidden, in every case.
    """

    channel: str
    score: Score
    control: float
    tells: bool
    copies: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """The result about hidden steps, or about hidden episodes.

    Attributes:
        unit: which of the two.
        cases, episodes: numbers of hidden steps or episodes, and of episodes that they are from.
        missing: why nothing can be told or judged, if so; then there are no rows.
        measure, chance: the name of the score, and its value without any information.
        values: what was hidden, in a few words.
        rows: one for each channel.
    """

    unit: Unit
    cases: int
    episodes: int
    missing: str | None = None
    measure: str = ""
    chance: float = 0.0
    values: str = ""
    rows: tuple[Row, ...] = ()

    @property
    def telling(self) -> list[Row]:
        """The channels that tell, the combined ones only if no channel does by itself."""
        rows = [row for row in self.rows if row.tells]
        alone = [row for row in rows if row.channel in CHANNELS]
        return alone or rows[:1]


@dataclass(frozen=True)
class LeakReport:
    """What an environment tells of its hidden rewards.

    Attributes:
        steps: the result about the rewards of hidden steps.
        episodes: the result about the returns of hidden episodes.
        played: number of episodes that were played.
    """

    steps: Reading
    episodes: Reading
    played: int

    @property
    def readings(self) -> tuple[Reading, Reading]:
        """Both results."""
        return self.steps, self.episodes

    @property
    def tells(self) -> bool:
        """Whether anything tells hidden rewards or returns."""
        return any(each.telling for each in self.readings)

    @property
    def conclusive(self) -> bool:
        """Whether anything could be measured."""
        return any(each.rows for each in self.readings)

    @property
    def channels(self) -> set[str]:
        """The channels that tell hidden rewards or returns."""
        return {row.channel for each in self.readings for row in each.telling}


def probe(
    setup: Setup,
    episodes: int = EPISODES,
    policy: Policy | None = None,
    on_episode: Callable[[], None] = lambda: None,
) -> LeakReport:
    """Measure what a setup's environment tells of the rewards that its oversight hides.

    The true rewards are read here, by the developer who measures; no learner is trained.

    Args:
        setup: makes the environment, as for `certify`; of its agent nothing is used.
        episodes: number of episodes that are played; half of them are held out.
        policy: from observations of one lane to actions; by default they are drawn uniformly.
        on_episode: called after each episode.

    Raises:
        ValueError: if observations or actions cannot be flattened to numbers.
    """

    def counted() -> Iterator[Episode]:
        for episode in play(setup, episodes, policy):
            yield episode
            on_episode()

    steps, wholes = collect(counted(), episodes, setup.seed)
    return LeakReport(
        read_cases("steps", steps, setup.seed),
        read_cases("episodes", wholes, setup.seed),
        episodes,
    )


def read_cases(unit: Unit, cases: Cases, seed: int) -> Reading:
    """Return how well each channel predicts the truth of some cases.

    Args:
        unit: what the cases are.
        cases: hidden steps or episodes.
        seed: of the split, the resamples and the shuffles.
    """
    numbers = cases.truth.size, int(np.unique(cases.episode).size)
    if not cases.truth.size:
        return Reading(unit, *numbers, missing=f"no {unit[:-1]} was hidden")
    question = pose(cases.truth, cases.episode, seed)
    if isinstance(question, str):
        return Reading(unit, *numbers, missing=question)
    return Reading(
        unit,
        *numbers,
        measure=question.measure,
        chance=question.chance,
        values=question.values,
        rows=tuple(_rows(question, cases, seed)),
    )


def _rows(question: Question, cases: Cases, seed: int) -> Iterator[Row]:
    """Yield a row for each channel, for all of them, for the action, and for everything."""
    judge = Judge(question, MAX_ROWS, seed)
    shuffled = shuffle(question, seed)
    control = Judge(shuffled, MAX_ROWS, seed)
    channels = [channel for channel in CHANNELS if channel in cases.seen]
    seen = {channel: cases.seen[channel] for channel in channels}
    seen[ALL] = np.concatenate(list(seen.values()), axis=1)
    seen[ACTION] = cases.seen[ACTION]
    seen[BOTH] = np.concatenate([seen[ALL], seen[ACTION]], axis=1)
    predictions: dict[str, Matrix] = {}
    for channel, features in seen.items():
        predictions[channel] = predict(question, features)
        score = judge.score(predictions[channel])
        tells = channel != ACTION and score.low > question.chance
        if channel == BOTH:
            tells = tells and judge.difference(predictions[BOTH], predictions[ACTION]).low > 0
        copies = _copies(cases, channel) if channel in CHANNELS else ()
        without = control.score(predict(shuffled, features)).value
        yield Row(channel, score, without, tells, copies)


def _copies(cases: Cases, channel: str) -> tuple[str, ...]:
    """Return the names of the features of a channel that equal the truth in every case."""
    equal = (cases.seen[channel] == cases.truth[:, None]).all(axis=0)
    return tuple(name for name, same in zip(cases.names[channel], equal, strict=True) if same)


def leak_table(title: str, reading: Reading) -> Table:
    """Return a table with a row for each channel.

    Args:
        title: line above it.
        reading: has rows.
    """
    quantity = QUANTITY[reading.unit]
    heading = f"{title}: {quantity} of {reading.cases:,} hidden {reading.unit} ({reading.values})"
    table = plain_table(heading, "channel", (reading.measure, "interval", "shuffled"))
    table.add_column("result", overflow="fold")
    for row in reading.rows:
        style = "bold red" if row.tells else "green"
        shown = Text(_result(row, quantity), style="" if row.channel == ACTION else style)
        value, low, high = (f"{number:.3f}" for number in row.score)
        table.add_row(row.channel, value, f"{low} to {high}", f"{row.control:.3f}", shown)
    table.caption = (
        f"{reading.measure} on held-out episodes; chance: {reading.chance:g}. The intervals hold "
        "jointly with 99% confidence. shuffled: a control, in which the truths are shuffled"
    )
    return table


def _result(row: Row, quantity: str) -> str:
    """Return what a row says, in a few words."""
    if row.channel == ACTION:
        return "the agent's own"
    if row.copies:
        return f"tells: {', '.join(row.copies[:2])} equals the hidden {quantity}"
    return "tells" if row.tells else "nothing found"


def verdict(report: LeakReport) -> str:
    """Return which channels tell hidden rewards, by how much, and what that means."""
    unmeasured = "".join(f" {_missing(each)}." for each in report.readings if each.missing)
    if not report.conclusive:
        return f"inconclusive:{unmeasured}"
    if not report.tells:
        excluded = " and ".join(_excluded(each) for each in report.readings if each.rows)
        return (
            "nothing found: no channel predicts hidden rewards or returns better than chance."
            f"{unmeasured} The intervals exclude {excluded}; more episodes exclude more. Gradient "
            "boosting may miss what another predictor, or another policy, would show"
        )
    found = "; ".join(_telling(each) for each in report.readings if each.telling)
    return (
        f"TELLS hidden rewards: {found}.{unmeasured} A certificate cannot see this, since no "
        f"hidden reward is used. {_advice(report.channels)}"
    )


def _missing(reading: Reading) -> str:
    """Return why nothing was measured."""
    quantity, unit = QUANTITY[reading.unit], reading.unit
    return f"The {quantity}s of {reading.cases:,} hidden {unit} were not judged: {reading.missing}"


def _excluded(reading: Reading) -> str:
    """Return the score above which nothing can tell what is hidden, as the intervals say."""
    highest = max(row.score.high for row in reading.rows if row.channel != ACTION)
    return f"{reading.measure} above {highest:.2f} for hidden {reading.unit}"


def _telling(reading: Reading) -> str:
    """Return which channels tell what is hidden, and how well."""
    listed = ", ".join(
        f"{row.channel} ({reading.measure} {row.score.value:.3f})" for row in reading.telling
    )
    return (
        f"the {QUANTITY[reading.unit]} of a hidden {reading.unit[:-1]} is predicted by {listed}, "
        f"where chance is {reading.chance:g}"
    )


def _advice(channels: set[str]) -> str:
    """Return what each kind of finding may mean, and what removes it."""
    said = []
    if {"terminated", "truncated", "length"} & channels:
        said.append("FixedHorizon inside the oversight removes what ends and lengths tell")
    if {"info"} & channels:
        said.append("leave keys that tell out of allow")
    if {"payment"} & channels:
        said.append("choose a proxy reward that does not depend on the true one")
    if {"observation", ALL, BOTH} & channels:
        said.append(
            "an agent that sees its world and knows the rule can compute every reward, which is "
            "the task itself; what an observation tells is a leak only where the learner should "
            "not know it, and then a wrapper must remove it"
        )
    return ". ".join(each[0].upper() + each[1:] for each in said)


def as_data(report: LeakReport) -> dict[str, Any]:
    """Return the report as JSON-compatible data."""
    return {**asdict(report), "tells": report.tells, "verdict": verdict(report)}


def tables(title: str, report: LeakReport) -> Sequence[Table]:
    """Return the tables of a report: of hidden steps, and of hidden episodes."""
    return [leak_table(title, each) for each in report.readings if each.rows]
