"""The leak meter: which channels predict hidden rewards, and by how much.

A certificate replaces the reward alone. It cannot see that an observation, the end of an episode or
its length depends on hidden rewards. The meter can: it plays the environment, and predicts the true
reward of hidden steps, and the true return of hidden episodes, from what the learner sees of them.

It measures information, and cannot know what is meant to be seen. Where the observation shows the
whole state, an agent that knows the reward function can compute every reward, which is the task
itself and no fault of the oversight. Constant rewards cannot be leaked, and the action is the
agent's own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from rich.table import Table
from rich.text import Text

from oversight.certificate.leak_meter.playing import Cases, Episode, Policy, collect, play
from oversight.certificate.leak_meter.scoring import (
    Matrix,
    PredictionTask,
    Score,
    Scorer,
    make_task,
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
        control: the same with shuffled truths, which nothing can predict.
        leaks: whether the interval of the score lies above chance; for `all and action`, whether
            the score also exceeds that of the action alone. False for the action, which is the
            agent's own.
        copies: the features that equal the hidden value in every case.
    """

    channel: str
    score: Score
    control: float
    leaks: bool
    copies: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """How well hidden steps, or hidden episodes, are predicted.

    Attributes:
        unit: which of the two.
        cases, episodes: numbers of hidden steps or episodes, and of episodes that they are from.
        missing: why there are no rows, if there are none.
        measure, chance: the name of the score, and its value without any information.
        values: the hidden values, in a few words.
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
    def leaking(self) -> list[Row]:
        """The channels that leak; combined ones only if no single channel does."""
        rows = [row for row in self.rows if row.leaks]
        alone = [row for row in rows if row.channel in CHANNELS]
        return alone or rows[:1]


@dataclass(frozen=True)
class LeakReport:
    """Which channels of an environment leak its hidden rewards.

    Attributes:
        steps: the result about the rewards of hidden steps.
        episodes: the result about the returns of hidden episodes.
        played: number of episodes that were played.
    """

    steps: Result
    episodes: Result
    played: int

    @property
    def results(self) -> tuple[Result, Result]:
        """Both results."""
        return self.steps, self.episodes

    @property
    def leaks(self) -> bool:
        """Whether any channel leaks hidden rewards or returns."""
        return any(each.leaking for each in self.results)

    @property
    def conclusive(self) -> bool:
        """Whether anything could be measured."""
        return any(each.rows for each in self.results)

    @property
    def channels(self) -> set[str]:
        """The channels that leak hidden rewards or returns."""
        return {row.channel for each in self.results for row in each.leaking}


def probe(
    setup: Setup,
    episodes: int = EPISODES,
    policy: Policy | None = None,
    on_episode: Callable[[], None] = lambda: None,
) -> LeakReport:
    """Measure which channels of a setup's environment leak the rewards that its oversight hides.

    True rewards are read here, for the developer of the environment; no learner is trained on them.

    Args:
        setup: makes the environment, as for `certify`; its agent is not used.
        episodes: number of episodes that are played; half of them are held out.
        policy: maps observations of one lane to actions; by default actions are uniformly random.
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
        measure_cases("steps", steps, setup.seed),
        measure_cases("episodes", wholes, setup.seed),
        episodes,
    )


def measure_cases(unit: Unit, cases: Cases, seed: int) -> Result:
    """Return how well each channel predicts the truth of some cases.

    Args:
        unit: what the cases are.
        cases: hidden steps or episodes.
        seed: of the split, the resamples and the shuffles.
    """
    numbers = cases.truth.size, int(np.unique(cases.episode).size)
    if not cases.truth.size:
        return Result(unit, *numbers, missing=f"no {unit[:-1]} was hidden")
    task = make_task(cases.truth, cases.episode, seed)
    if isinstance(task, str):
        return Result(unit, *numbers, missing=task)
    return Result(
        unit,
        *numbers,
        measure=task.measure,
        chance=task.chance,
        values=task.values,
        rows=tuple(_rows(task, cases, seed)),
    )


def _rows(task: PredictionTask, cases: Cases, seed: int) -> Iterator[Row]:
    """Yield a row for each channel, for all channels, for the action, and for all of these."""
    scorer = Scorer(task, MAX_ROWS, seed)
    shuffled = shuffle(task, seed)
    control = Scorer(shuffled, MAX_ROWS, seed)
    channels = [channel for channel in CHANNELS if channel in cases.seen]
    seen = {channel: cases.seen[channel] for channel in channels}
    seen[ALL] = np.concatenate(list(seen.values()), axis=1)
    seen[ACTION] = cases.seen[ACTION]
    seen[BOTH] = np.concatenate([seen[ALL], seen[ACTION]], axis=1)
    predictions: dict[str, Matrix] = {}
    for channel, features in seen.items():
        predictions[channel] = predict(task, features)
        score = scorer.score(predictions[channel])
        leaks = channel != ACTION and score.low > task.chance
        if channel == BOTH:
            leaks = leaks and scorer.difference(predictions[BOTH], predictions[ACTION]).low > 0
        copies = _copies(cases, channel) if channel in CHANNELS else ()
        without = control.score(predict(shuffled, features)).value
        yield Row(channel, score, without, leaks, copies)


def _copies(cases: Cases, channel: str) -> tuple[str, ...]:
    """Return the names of the features of a channel that equal the truth in every case."""
    equal = (cases.seen[channel] == cases.truth[:, None]).all(axis=0)
    return tuple(name for name, same in zip(cases.names[channel], equal, strict=True) if same)


def leak_table(title: str, result: Result) -> Table:
    """Return a table with a row for each channel.

    Args:
        title: line above it.
        result: has rows.
    """
    quantity = QUANTITY[result.unit]
    heading = f"{title}: {quantity} of {result.cases:,} hidden {result.unit} ({result.values})"
    table = plain_table(heading, "channel", (result.measure, "interval", "shuffled"))
    table.add_column("result", overflow="fold")
    for row in result.rows:
        style = "bold red" if row.leaks else "green"
        shown = Text(_result(row, quantity), style="" if row.channel == ACTION else style)
        value, low, high = (f"{number:.3f}" for number in row.score)
        table.add_row(row.channel, value, f"{low} to {high}", f"{row.control:.3f}", shown)
    table.caption = (
        f"{result.measure} on held-out episodes; chance: {result.chance:g}. The intervals hold "
        "jointly with 99% confidence. shuffled: a control, in which the truths are shuffled"
    )
    return table


def _result(row: Row, quantity: str) -> str:
    """Return the finding of a row in a few words."""
    if row.channel == ACTION:
        return "the agent's own"
    if row.copies:
        return f"leaks: {', '.join(row.copies[:2])} equals the hidden {quantity}"
    return "leaks" if row.leaks else "nothing found"


def verdict(report: LeakReport) -> str:
    """Return which channels leak hidden rewards, by how much, and what to do about it."""
    unmeasured = "".join(f" {_missing(each)}." for each in report.results if each.missing)
    if not report.conclusive:
        return f"inconclusive:{unmeasured}"
    if not report.leaks:
        excluded = " and ".join(_excluded(each) for each in report.results if each.rows)
        return (
            "nothing found: no channel predicts hidden rewards or returns better than chance."
            f"{unmeasured} The intervals exclude {excluded}; more episodes exclude more. Gradient "
            "boosting may miss what another predictor, or another policy, would show"
        )
    found = "; ".join(_leaking(each) for each in report.results if each.leaking)
    return (
        f"LEAK: {found}.{unmeasured} A certificate cannot see this, since "
        f"no hidden reward is used. {_advice(report.channels)}"
    )


def _missing(result: Result) -> str:
    """Return why nothing was measured."""
    quantity, unit = QUANTITY[result.unit], result.unit
    return f"The {quantity}s of {result.cases:,} hidden {unit} were not measured: {result.missing}"


def _excluded(result: Result) -> str:
    """Return the highest score that the intervals of the channels allow."""
    highest = max(row.score.high for row in result.rows if row.channel != ACTION)
    return f"{result.measure} above {highest:.2f} for hidden {result.unit}"


def _leaking(result: Result) -> str:
    """Return which channels predict what is hidden, and how well."""
    listed = ", ".join(
        f"{row.channel} ({result.measure} {row.score.value:.3f})" for row in result.leaking
    )
    return (
        f"the {QUANTITY[result.unit]} of a hidden {result.unit[:-1]} is predicted by {listed}, "
        f"where chance is {result.chance:g}"
    )


def _advice(channels: set[str]) -> str:
    """Return what each kind of leak may mean, and what removes it."""
    advice = []
    if {"terminated", "truncated", "length"} & channels:
        advice.append("FixedHorizon inside the oversight removes what ends and lengths leak")
    if {"info"} & channels:
        advice.append("leave the keys that leak out of allow")
    if {"payment"} & channels:
        advice.append("choose a proxy reward that does not depend on the true one")
    if {"observation", ALL, BOTH} & channels:
        advice.append(
            "an agent that sees the state and knows the reward function can compute every reward, "
            "which is the task itself; an observation is a leak only where the learner should not "
            "know what it shows, and then a wrapper must remove it"
        )
    return ". ".join(each[0].upper() + each[1:] for each in advice)


def as_data(report: LeakReport) -> dict[str, Any]:
    """Return the report as JSON-compatible data."""
    return {**asdict(report), "leaks": report.leaks, "verdict": verdict(report)}


def tables(title: str, report: LeakReport) -> Sequence[Table]:
    """Return the tables of a report: one of hidden steps, and one of hidden episodes."""
    return [leak_table(title, each) for each in report.results if each.rows]
