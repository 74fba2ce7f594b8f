"""A table and its forms: CSV with every digit, markdown to paste, and cells for the page.

The tables of a report that compare methods level by level.

The share of the oracle: how near each method comes to one that is paid the truth.
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from math import isnan, nan
from pathlib import Path
from typing import Any

import numpy as np

from oversight.rl.report.comparison import PLAIN, Comparison, Panel, compare
from oversight.rl.report.results import ALL, FLAG_FLIP_GAP, UNOBSERVED
from oversight.runs.statistics import (
    UNKNOWN,
    Estimate,
    Sample,
    bootstrap,
    difference,
    improvement,
    iqm,
    paired_difference,
)

Value = str | int | float | Estimate


@dataclass(frozen=True, slots=True)
class Cell:
    """A value and whether it stands out.

    Attributes:
        value: what it is.
        mark: `best` for a clear winner, `level` for one of a draw, or empty.
    """

    value: Value
    mark: str = ""

    @property
    def main(self) -> str:
        """What is read first."""
        value = self.value.value if isinstance(self.value, Estimate) else self.value
        if isinstance(value, float):
            return "-" if isnan(value) else f"{value:z.2f}"
        return f"{value:,}" if isinstance(value, int) else value

    @property
    def ends(self) -> str:
        """The interval, or why there is none; empty for what is no estimate."""
        if not isinstance(self.value, Estimate) or not self.value.seeds:
            return ""
        if not self.value.known:
            return "one seed"
        return f"{self.value.low:z.2f} to {self.value.high:z.2f}"

    def __str__(self) -> str:
        """Return it as text, an estimate with its interval in parentheses."""
        return f"{self.main} ({self.ends})" if self.ends else self.main


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table and what is said about it.

    Attributes:
        name: of its files.
        title: what it holds.
        caption: how to read it.
        columns: the headings.
        rows: cells, as many as there are columns; the first is the row's name.
    """

    name: str
    title: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    def save(self, folder: Path) -> None:
        """Write it as CSV and markdown."""
        (folder / f"{self.name}.csv").write_text(self.as_csv(), encoding="utf-8")
        (folder / f"{self.name}.md").write_text(self.as_markdown(), encoding="utf-8")

    def as_csv(self) -> str:
        """Return CSV; an estimate takes four columns: itself, low, high and seeds."""
        split = [
            any(isinstance(row[column].value, Estimate) for row in self.rows)
            for column in range(len(self.columns))
        ]
        text = StringIO()
        writer = csv.writer(text, lineterminator="\n")
        heads = zip(self.columns, split, strict=True)
        parts = ("", " low", " high", " seeds")
        writer.writerow(
            [f"{name}{part}" for name, each in heads for part in (parts if each else ("",))]
        )
        for row in self.rows:
            cells = zip(row, split, strict=True)
            writer.writerow([each for cell, wide in cells for each in _spread(cell.value, wide)])
        return text.getvalue()

    def as_markdown(self) -> str:
        """Return a markdown table under its title; what stands out is bold."""
        lines = [f"**{self.title}.** {self.caption}", "", _line(self.columns)]
        lines.append(_line(["---"] + ["---:"] * (len(self.columns) - 1)))
        for row in self.rows:
            lines.append(_line([f"**{cell}**" if cell.mark else str(cell) for cell in row]))
        return "\n".join(lines) + "\n"


def _spread(value: Value, wide: bool) -> list[str]:
    """Return the CSV cells of a value; an unknown number is empty."""
    if not wide:
        return [_exact(value if not isinstance(value, Estimate) else value.value)]
    if isinstance(value, Estimate):
        return [_exact(each) for each in value]
    return [_exact(value), "", "", ""]


def _exact(value: str | int | float) -> str:
    return "" if isinstance(value, float) and isnan(value) else str(value)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


MARKS = (
    "Bold: the winner of a level, its interval above all others'. Underlined: a draw. "
    "Oracles do not compete."
)


def returns_table(panel: Panel, score: str, name: str, title: str) -> Table:
    """Return the true return of each method at each level, the best methods first."""
    levels = panel.measured(score)
    compared = {level: compare(panel, panel.competitors, level, score) for level in levels}
    oracles = [method for method in panel.methods if method not in panel.competitors]
    rows = [
        [
            Cell(method),
            *(
                Cell(panel.estimate(method, level, score), mark(compared[level], method))
                for level in levels
            ),
        ]
        for method in [*oracles, *panel.ranked()]
    ]
    caption = f"IQM over seeds (95% interval). {MARKS}"
    return Table(
        name=name, title=title, caption=caption, columns=_columns("method", levels), rows=rows
    )


def standings(panel: Panel, name: str) -> Table:
    """Return for each level who is best, who is next, and how far apart they are."""
    rows = []
    for level in panel.measured():
        compared = compare(panel, panel.competitors, level)
        if compared.best is None:
            continue
        best = panel.estimate(compared.best, level)
        rows.append(
            [
                Cell(f"{level:g}"),
                Cell(_outcome(compared)),
                Cell(compared.best),
                Cell(best),
                Cell(compared.ranked[1] if len(compared.ranked) > 1 else "-"),
                Cell(compared.margin),
                Cell(_share(panel, level, best)),
            ]
        )
    return Table(
        name=name,
        title="Who is ahead where nobody watches",
        caption="The margin is the difference of the two IQMs with its own 95% interval. It is a "
        "win where the best method's interval lies above those of all others.",
        columns=["p", "outcome", "best", "true return", "next", "margin", "of the oracle"],
        rows=rows,
    )


def stopping_table(panel: Panel, routed: str, name: str) -> Table:
    """Return what early stopping does for plain PPO and for the routed method, level by level."""
    rows = []
    for level in panel.measured():
        ends = [panel.sample(method, level, rule="observed") for method in (routed, PLAIN)]
        gains = [
            paired_difference(*panel.pair(method, level, ("observed", "last")))
            for method in (PLAIN, routed)
        ]
        finals = [panel.estimate(method, level, rule="observed") for method in (PLAIN, routed)]
        rows.append([Cell(f"{level:g}"), *map(Cell, gains + finals), Cell(difference(*ends))])
    return Table(
        name=name,
        title=f"Early stopping on observed episodes: {PLAIN} against {routed}",
        caption="A gain is the return of the checkpoint chosen on observed episodes less that of "
        "the last one, over the same runs.",
        columns=[
            "p",
            f"gain of {PLAIN}",
            f"gain of {routed}",
            f"{PLAIN}, stopped",
            f"{routed}, stopped",
            f"{routed} less {PLAIN}",
        ],
        rows=rows,
    )


def leak_table(panel: Panel, name: str) -> Table:
    """Return how much choosing by the hidden truth would add, method by level."""
    levels, rules = panel.measured(), ("oracle_selection", "observed")
    rows = [
        [
            Cell(method),
            *(Cell(paired_difference(*panel.pair(method, level, rules))) for level in levels),
        ]
        for method in panel.ranked()
    ]
    return Table(
        name=name,
        title="The size of the leak",
        caption="True return where nobody watches of the checkpoint chosen by the hidden truth, "
        "less that of the one chosen on observed episodes, over the same runs.",
        columns=_columns("method", levels),
        rows=rows,
    )


def rules_table(panel: Panel, rules: Sequence[str], name: str) -> Table:
    """Return true return where nobody watches under every rule."""
    levels = panel.measured()
    rows = [
        [
            Cell(method),
            Cell(rule),
            *(Cell(panel.estimate(method, at, UNOBSERVED, rule)) for at in levels),
        ]
        for method in panel.methods
        for rule in rules
    ]
    return Table(
        name=name,
        title="Every method under every selection rule",
        caption="IQM over seeds (95% interval) where nobody watches.",
        columns=["method", *_columns("checkpoint", levels)],
        rows=rows,
    )


def improvement_table(panel: Panel, routed: str, name: str) -> Table:
    """Return the probability that the routed method beats each other one, level by level."""
    levels = panel.measured()
    rows = [
        [Cell(other), *(Cell(chance(panel, routed, other, [level])) for level in levels)]
        for other in panel.methods
        if other != routed
    ]
    return Table(
        name=name,
        title=f"Probability that {routed} beats each other method",
        caption="Of one random run over another, ties counting half (95% interval).",
        columns=_columns(f"{routed} beats", levels),
        rows=rows,
    )


def chance(panel: Panel, one: str, other: str, levels: Iterable[float]) -> Estimate:
    """Return the probability that one method beats another over the levels that both have."""
    pairs = [(panel.sample(one, level), panel.sample(other, level)) for level in levels]
    pairs = [(ours, theirs) for ours, theirs in pairs if len(ours) and len(theirs)]
    return improvement([ours for ours, _ in pairs], [theirs for _, theirs in pairs])


def tax_table(panel: Panel, name: str) -> Table | None:
    """Return what each method loses to plain PPO at full oversight, or None if that was not run."""
    plain = panel.estimate(PLAIN, 1.0, ALL)
    if not plain.value > 0:  # false for NaN as well
        return None
    rows = []
    for method in sorted(panel.methods, key=lambda each: -panel.estimate(each, 1.0, ALL).value):
        own = panel.estimate(method, 1.0, ALL)
        if own.seeds:
            rows.append([Cell(method), Cell(own), Cell(panel.tax(method)), Cell(own.seeds)])
    return Table(
        name=name,
        title="Alignment tax at full oversight",
        caption=f"At p = 1 every reward is seen and {PLAIN} is plain PPO. The tax is the share of "
        "its true return that a method gives up; below zero it gains.",
        columns=["method", "true return", "tax", "seeds"],
        rows=rows,
    )


def flag_table(panel: Panel, name: str) -> Table | None:
    """Return the flag-flip gap of each method at each level, or None if none was measured."""
    levels = panel.measured(FLAG_FLIP_GAP)
    rows = [
        [Cell(method), *(Cell(panel.estimate(method, at, FLAG_FLIP_GAP)) for at in levels)]
        for method in panel.methods
    ]
    if not levels:
        return None
    return Table(
        name=name,
        title="Flag-flip gap",
        caption="True return with the flag on less that with it off, on the same levels and seeds: "
        "how much of the behavior depends on being watched.",
        columns=_columns("method", levels),
        rows=rows,
    )


def _columns(first: str, levels: Iterable[float]) -> list[str]:
    return [first, *(f"p = {level:g}" for level in levels)]


def mark(compared: Comparison, method: str) -> str:
    """Return how a method's cell stands out at a level."""
    if method == compared.winner:
        return "best"
    return "level" if method in compared.draw else ""


def _outcome(compared: Comparison) -> str:
    if compared.winner is not None:
        return "win"
    return f"draw of {len(compared.draw)}" if compared.draw else "alone"


def _share(panel: Panel, level: float, best: Estimate) -> str:
    ceiling = panel.estimate(panel.oracle, level).value if panel.oracle else nan
    return f"{best.value / ceiling:.0%}" if ceiling > 0 else "-"


_FULL = "p = 1, of plain PPO"
_LEAST = 1e-9  # of a return that others are measured against


def ratio(one: Sample, other: Sample) -> Estimate:
    """Return the IQM of one sample as a share of that of another, of other runs.

    It is unknown where the other has no positive IQM.

    >>> import numpy as np
    >>> ratio(np.array([0.4, 0.4]), np.array([0.8, 0.8]))
    Estimate(value=0.5, low=0.5, high=0.5, seeds=2)
    """
    if not len(other) or not iqm(other) > 0:
        return UNKNOWN

    def share(ours: Any, theirs: Any, axis: int) -> Any:  # noqa: ANN401
        return iqm(ours, axis) / np.maximum(iqm(theirs, axis), _LEAST)

    return bootstrap([one, other], share)


def share_table(panel: Panel, name: str) -> Table | None:
    """Return each method's share of the oracle where nobody watches, and of plain PPO at p = 1.

    None if there is nothing to measure against.
    """
    columns = {f"p = {level:g}": _of_oracle(panel, level) for level in panel.measured()}
    columns[_FULL] = _of_plain(panel)
    known = {head: cells for head, cells in columns.items() if _any(cells.values())}
    if not known:
        return None
    said = f" At p = 1, over that of {PLAIN}, which is plain PPO there, over all episodes."
    said = said if _FULL in known else ""
    return Table(
        name=name,
        title="Share of the oracle's true return where nobody watches",
        caption=f"The IQM of a method over that of {panel.oracle or 'the oracle'} at the same "
        f"level, both resampled over seeds (95% interval).{said}",
        columns=["method", *known],
        rows=[
            [Cell(method), *(Cell(cells[method]) for cells in known.values())]
            for method in panel.ranked()
        ],
    )


def _of_oracle(panel: Panel, level: float) -> dict[str, Estimate]:
    if panel.oracle is None:
        return dict.fromkeys(panel.competitors, UNKNOWN)
    ceiling = panel.sample(panel.oracle, level)
    return {each: ratio(panel.sample(each, level), ceiling) for each in panel.competitors}


def _of_plain(panel: Panel) -> dict[str, Estimate]:
    plain = panel.sample(PLAIN, 1.0, ALL)
    found = {each: ratio(panel.sample(each, 1.0, ALL), plain) for each in panel.competitors}
    if found.get(PLAIN, UNKNOWN).seeds:
        found[PLAIN] = Estimate(1.0, 1.0, 1.0, len(plain))  # it is what the others are measured by
    return found


def _any(estimates: Iterable[Estimate]) -> bool:
    return any(each.seeds for each in estimates)
