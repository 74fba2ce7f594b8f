"""The tables of a report, each a pandas frame of cells with a caption, as HTML and as CSV."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from oversight.rl.report.comparison import (
    PLAIN,
    SHARE,
    Comparison,
    Panel,
    compare,
    is_oracle,
    label_efficiency,
)
from oversight.rl.report.results import ALL, FLAG_FLIP_GAP, ORACLE_SELECTION, UNOBSERVED, ranges
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

Cell = str | int | Estimate
Marks = Mapping[tuple[str, str], str]
"""By row and column, `best` for a winner's cell and `draw` for a cell of a draw."""

_LEAST = 1e-9  # smallest return by which another is divided
_MARKED = (
    "Bold: the winner, whose interval lies above all others. Underlined: a draw. Oracles do not "
    "compete."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table and its description.

    Attributes:
        name: of its files.
        title: what it shows.
        caption: how to read it.
        frame: of cells; its index holds the names of the rows.
        marks: the cells that stand out.
        percent: whether estimates are shares, which the page shows as percentages.
        seeds: of a whole cell; on the page, an estimate of fewer says how many it has.
    """

    name: str
    title: str
    caption: str
    frame: pd.DataFrame
    marks: Marks = field(default_factory=dict)
    percent: bool = False
    seeds: int = 0

    def to_html(self) -> Markup:
        """Return a table of the page: bold winners, underlined draws, intervals in small print."""
        frame = self.frame
        rows = [
            [
                self._as_html(cell, self.marks.get((name, head), ""))
                for head, cell in zip(frame.columns, cells, strict=True)
            ]
            for name, cells in zip(frame.index, frame.to_numpy(), strict=True)
        ]
        heads = pd.Index(map(escape, frame.columns), name=escape(frame.index.name))
        texts = pd.DataFrame(rows, [*map(escape, frame.index)], heads, dtype=object)
        with pd.option_context("display.max_colwidth", None):
            return Markup(texts.to_html(escape=False, border=0))

    def _as_html(self, cell: Cell, mark: str) -> str:
        value, interval = map(escape, as_text(cell, percent=self.percent, seeds=self.seeds))
        tag = {"best": "b", "draw": "u"}.get(mark, "span")
        return f"<{tag}>{value}</{tag}>" + (f" <small>{interval}</small>" if interval else "")

    def save(self, folder: Path) -> None:
        """Write the table as CSV."""
        (folder / f"{self.name}.csv").write_text(self.to_csv(), encoding="utf-8")

    def to_csv(self) -> str:
        """Return CSV with all digits; an estimate takes four columns."""
        parts = []
        for head, cells in self.frame.items():
            if any(isinstance(cell, Estimate) for cell in cells):
                names = [str(head), f"{head} low", f"{head} high", f"{head} seeds"]
                parts.append(pd.DataFrame([*cells], self.frame.index, names))
            else:
                parts.append(cells)
        text: str = pd.concat(parts or [self.frame], axis="columns").to_csv(lineterminator="\n")
        return text


def as_text(cell: Cell, *, percent: bool = False, seeds: int = 0) -> tuple[str, str]:
    """Return the value of a cell and its interval, which is empty if there is none.

    Args:
        cell: a word, a whole number or an estimate.
        percent: whether an estimate is a share, shown as a percentage.
        seeds: an estimate of fewer says how many it has.

    >>> as_text(Estimate(0.5, 0.25, 0.75, 5))
    ('0.50', '0.25 to 0.75')
    >>> as_text(Estimate(0.5, 0.25, 0.75, 3), percent=True, seeds=5)
    ('50.0%', '25.0 to 75.0, n = 3')
    """
    if not isinstance(cell, Estimate):
        return (f"{cell:,}" if isinstance(cell, int) else cell), ""
    if not cell.seeds:
        return "-", ""
    scale, digits = (100, 1) if percent else (1, 2)
    value, low, high = (f"{scale * each:z.{digits}f}" for each in cell[:3])
    ends = f"{low} to {high}" if cell.known else "one seed"
    few = f", n = {cell.seeds}" if cell.known and cell.seeds < seeds else ""
    return ("-" if isnan(cell.value) else f"{value}{'%' if percent else ''}"), ends + few


def by_level(
    methods: Sequence[str],
    levels: Iterable[float],
    cell: Callable[[str, float], Cell],
) -> pd.DataFrame:
    """Return a frame with a row for each method and a column for each level."""
    columns = {_head(level): [cell(method, level) for method in methods] for level in levels}
    return pd.DataFrame(columns, pd.Index(methods, name="method"), dtype=object)


def _head(level: float) -> str:
    return f"p = {level:g}"


def _from_rows(rows: Sequence[Mapping[str, Cell]]) -> pd.DataFrame:
    """Return a frame whose index is the first cell of each row."""
    return pd.DataFrame(rows, dtype=object).set_index(next(iter(rows[0])))


def returns_table(panel: Panel, score: str, name: str) -> Table | None:
    """Return the true return of each method at each level, the best methods first.

    At p = 1, where no episode is unobserved, all episodes take the place of unobserved ones.
    """
    columns = {_head(level): (level, score) for level in panel.measured(score)}
    if score == UNOBSERVED and 1.0 in {*panel.measured(ALL)} - {*panel.measured()}:
        columns["p = 1, all episodes"] = (1.0, ALL)
    if not columns:
        return None
    methods = [*filter(is_oracle, panel.methods), *panel.ranked()]
    marks: dict[tuple[str, str], str] = {}
    for head, cell in columns.items():
        marks |= _marks(compare(panel, panel.competitors, *cell), head)
    estimates = {
        head: [panel.estimate(method, *cell) for method in methods]
        for head, cell in columns.items()
    }
    return Table(
        name=name,
        title=f"True return in {name} episodes",
        caption=f"IQM over seeds (95% interval). {_MARKED}",
        frame=pd.DataFrame(estimates, pd.Index(methods, name="method"), dtype=object),
        marks=marks,
    )


def variations_table(main: Panel, others: Sequence[Panel], level: float) -> Table:
    """Return the methods that a variation has at a level, the main variation's return first."""
    known = {name for panel in others for name in panel.methods if len(panel.sample(name, level))}
    order = [*filter(is_oracle, main.methods), *main.ranked()]
    order += [name for panel in others for name in panel.methods]
    methods = [name for name in dict.fromkeys(order) if name in known]
    columns: dict[str, list[Cell]] = {}
    marks: dict[tuple[str, str], str] = {}
    for panel in (main, *others):
        columns[panel.name] = [panel.estimate(method, level) for method in methods]
        competitors = [name for name in panel.competitors if name in known]
        marks |= _marks(compare(panel, competitors, level), panel.name)
    return Table(
        name=f"variations-p{level:g}",
        title=f"Variations at p = {level:g}",
        caption=f"IQM over seeds (95% interval) of the methods that a variation has. {_MARKED}",
        frame=pd.DataFrame(columns, pd.Index(methods, name="method"), dtype=object),
        marks=marks,
    )


def _marks(compared: Comparison, head: str) -> dict[tuple[str, str], str]:
    if compared.winner is not None:
        return {(compared.winner, head): "best"}
    return {(method, head): "draw" for method in compared.draw}


def standings_table(panel: Panel) -> Table | None:
    """Return the best method of each level, the next one, and their difference."""
    rows: list[Mapping[str, Cell]] = []
    for level in panel.measured():
        compared = compare(panel, panel.competitors, level)
        if not compared.ranked:
            continue
        best, *others = compared.ranked
        draw = f"draw of {len(compared.draw)}" if compared.draw else "alone"
        rows.append(
            {
                "p": f"{level:g}",
                "outcome": "win" if compared.winner else draw,
                "best": best,
                "true return": panel.estimate(best, level),
                "next": others[0] if others else "-",
                "margin": compared.margin,
            }
        )
    if not rows:
        return None
    return Table(
        name="standings",
        title="The best method at each level, in unobserved episodes",
        caption="The margin is the difference of the two IQMs with its own 95% interval. A win "
        "means that the best method's interval lies above those of all others.",
        frame=_from_rows(rows),
    )


def stopping_table(panel: Panel, routed: str) -> Table:
    """Return the effect of early stopping on plain PPO and on another method, level by level."""
    rows: list[Mapping[str, Cell]] = []
    for level in panel.measured():
        pairs = {each: panel.pair(each, level, ("observed", "last")) for each in (PLAIN, routed)}
        samples = [panel.sample(each, level, rule="observed") for each in (routed, PLAIN)]
        rows.append(
            {
                "p": f"{level:g}",
                **{f"gain of {each}": paired_difference(*pair) for each, pair in pairs.items()},
                **{
                    f"{each}, stopped": panel.estimate(each, level, rule="observed")
                    for each in pairs
                },
                f"{routed} minus {PLAIN}": difference(*samples),
            }
        )
    return Table(
        name=f"early-stopping-{routed}",
        title=f"Early stopping on observed episodes: {PLAIN} and {routed}",
        caption="A gain is the return of the checkpoint selected on observed episodes minus that "
        "of the last checkpoint of the same runs.",
        frame=_from_rows(rows),
    )


def oracle_selection_table(panel: Panel) -> Table:
    """Return the gain of selecting checkpoints by the hidden true reward."""

    def gain(method: str, level: float) -> Cell:
        return paired_difference(*panel.pair(method, level, (ORACLE_SELECTION, "observed")))

    return Table(
        name="oracle-selection",
        title="The gain of selection by the true reward",
        caption="True return in unobserved episodes of the checkpoint selected by the hidden true "
        "reward minus that of the checkpoint selected on observed episodes of the same runs.",
        frame=by_level(panel.ranked(), panel.measured(), gain),
    )


def improvement_table(panel: Panel, routed: Sequence[str]) -> Table | None:
    """Return the probability that each of some methods beats each other competitor."""

    def chance(method: str, other: str) -> Estimate:
        if method == other:
            return UNKNOWN
        pairs = [
            (panel.sample(method, level), panel.sample(other, level)) for level in panel.measured()
        ]
        pairs = [(ones, others) for ones, others in pairs if len(ones) and len(others)]
        return improvement([ones for ones, _ in pairs], [others for _, others in pairs])

    others = panel.ranked()
    columns = {f"{method} beats": [chance(method, other) for other in others] for method in routed}
    if not any(each.seeds for chances in columns.values() for each in chances):
        return None
    return Table(
        name="improvement",
        title="Probability that a run beats a run of another method",
        caption="The probability that a random run of the column's method has a higher true return "
        "in unobserved episodes than a random run of the row's method, averaged over the levels "
        "that both have; ties count half (95% interval).",
        frame=pd.DataFrame(columns, pd.Index(others, name="method"), dtype=object),
    )


def efficiency_table(panel: Panel) -> Table | None:
    """Return the observed episodes that each method needs, the fewest first."""
    found = {method: label_efficiency(panel, method) for method in panel.competitors}
    known = {method: each for method, each in found.items() if each is not None}
    if not known:
        return None
    order = sorted(known, key=lambda method: known[method].episodes.value)
    needed = {"observed episodes (95% interval)": [str(known[method]) for method in order]}
    return Table(
        name="label-efficiency",
        title=f"Observed episodes needed for {SHARE:.0%} of the oracle's return",
        caption="In unobserved episodes. Between two levels the share of the oracle's return is "
        "taken to be linear in the logarithm of the episodes. Episodes that only select a "
        "checkpoint are counted.",
        frame=pd.DataFrame(needed, pd.Index(order, name="method"), dtype=object),
    )


def flag_flip_table(panel: Panel) -> Table | None:
    """Return the flag-flip gap of each method at each level, or None if none was measured."""
    levels = panel.measured(FLAG_FLIP_GAP)
    if not levels:
        return None
    return Table(
        name="flag-flip",
        title="Flag-flip gap",
        caption="True return with the oversight flag on minus that with the flag off, on the same "
        "boards and seeds: the part of the behavior that depends on being observed.",
        frame=by_level(
            panel.methods,
            levels,
            lambda method, level: panel.estimate(method, level, FLAG_FLIP_GAP),
        ),
    )


def seeds_table(panel: Panel) -> Table:
    """Return the seeds of each method at each level."""
    return Table(
        name=f"seeds-{panel.name}",
        title=f"Seeds of variation {panel.name}",
        caption=f"Seeds of the runs that have a checkpoint of rule {panel.rule}.",
        frame=by_level(
            panel.methods,
            panel.levels,
            lambda method, level: ranges(panel.cell(method, level).index),
        ),
    )


_FULL = "p = 1, of plain PPO"


def share_table(panel: Panel) -> Table | None:
    """Return each method's share of the oracle's return, and of plain PPO's at p = 1.

    None if neither reference was run.
    """
    methods = panel.ranked()
    columns: dict[str, list[Estimate]] = {}
    if panel.oracle is not None:
        for level in panel.measured():
            bound = panel.sample(panel.oracle, level)
            columns[_head(level)] = [ratio(panel.sample(each, level), bound) for each in methods]
    plain = panel.sample(PLAIN, 1.0, ALL)
    own = Estimate(1.0, 1.0, 1.0, len(plain))
    shares = [ratio(panel.sample(each, 1.0, ALL), plain) for each in methods]
    columns[_FULL] = [
        own if method == PLAIN and share.seeds else share
        for method, share in zip(methods, shares, strict=True)
    ]
    known = {head: cells for head, cells in columns.items() if any(each.seeds for each in cells)}
    if not known:
        return None
    full = (
        f" At p = 1, over that of {PLAIN}, which is plain PPO there, over all episodes: what is "
        "missing to 1 is the alignment tax."
    )
    return Table(
        name="share",
        title="Share of the oracle's true return in unobserved episodes",
        caption=f"The IQM of a method over that of {panel.oracle or 'the oracle'} at the same "
        f"level, both resampled over seeds (95% interval).{full if _FULL in known else ''}",
        frame=pd.DataFrame(known, pd.Index(methods, name="method"), dtype=object),
    )


def ratio(ones: Sample, others: Sample) -> Estimate:
    """Return the IQM of one sample divided by that of another, which holds other runs.

    It is unknown if the other has no positive IQM.

    >>> ratio(np.array([0.4, 0.4]), np.array([0.8, 0.8]))
    Estimate(value=0.5, low=0.5, high=0.5, seeds=2)
    """
    if not len(others) or not iqm(others) > 0:
        return UNKNOWN
    return bootstrap([ones, others], _ratio_of_iqms)


def _ratio_of_iqms(ones: Any, others: Any, axis: int) -> Any:  # noqa: ANN401
    return iqm(ones, axis) / np.maximum(iqm(others, axis), _LEAST)
