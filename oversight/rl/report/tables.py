"""The tables of a report, each a pandas frame of cells with a caption, as CSV and markdown."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan, nan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from oversight.rl.report.comparison import (
    PLAIN,
    SHARE,
    Comparison,
    Efficiency,
    Panel,
    compare,
)
from oversight.rl.report.results import ALL, FLAG_FLIP_GAP, ORACLE_SELECTION, ranges
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
    """

    name: str
    title: str
    caption: str
    frame: pd.DataFrame
    marks: Marks = field(default_factory=dict)

    def __iter__(self) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
        """Yield each row's name and its cells: the value, the interval and the mark as text."""
        for name, cells in zip(self.frame.index, self.frame.to_numpy(), strict=True):
            pairs = zip(self.frame.columns, cells, strict=True)
            yield name, [(*as_text(cell), self.marks.get((name, head), "")) for head, cell in pairs]

    @property
    def heads(self) -> list[str]:
        """The headings of all columns, that of the names first."""
        return [self.frame.index.name, *self.frame.columns]

    def save(self, folder: Path) -> None:
        """Write the table as CSV and as markdown."""
        (folder / f"{self.name}.csv").write_text(self.to_csv(), encoding="utf-8")
        (folder / f"{self.name}.md").write_text(self.to_markdown(), encoding="utf-8")

    def to_csv(self) -> str:
        """Return CSV with all digits; an estimate takes four columns."""
        parts = []
        for head, cells in self.frame.items():
            if any(isinstance(cell, Estimate) for cell in cells):
                names = [str(head), f"{head} low", f"{head} high", f"{head} seeds"]
                parts.append(pd.DataFrame([*cells], self.frame.index, names))
            else:
                parts.append(cells)
        text: str = pd.concat(parts, axis="columns").to_csv(lineterminator="\n")
        return text

    def to_markdown(self) -> str:
        """Return a markdown table below its caption, with marked cells in bold."""
        lines = [_line(self.heads), _line(["---"] + ["---:"] * len(self.frame.columns))]
        for name, cells in self:
            texts = [
                f"{'**' * bool(mark)}{value}{f' ({ends})' if ends else ''}{'**' * bool(mark)}"
                for value, ends, mark in cells
            ]
            lines.append(_line([name, *texts]))
        return "\n".join([f"**{self.title}.** {self.caption}", "", *lines]) + "\n"


def as_text(cell: Cell) -> tuple[str, str]:
    """Return the value of a cell and its interval, which is empty if there is none.

    >>> as_text(Estimate(0.5, 0.25, 0.75, 5))
    ('0.50', '0.25 to 0.75')
    """
    if not isinstance(cell, Estimate):
        return (f"{cell:,}" if isinstance(cell, int) else cell), ""
    if not cell.seeds:
        return "-", ""
    ends = f"{cell.low:z.2f} to {cell.high:z.2f}" if cell.known else "one seed"
    return ("-" if isnan(cell.value) else f"{cell.value:z.2f}"), ends


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def by_level(
    methods: Sequence[str],
    levels: Iterable[float],
    cell: Callable[[str, float], Cell],
    head: str = "method",
) -> pd.DataFrame:
    """Return a frame with a row for each method and a column for each level."""
    columns = {_head(level): [cell(method, level) for method in methods] for level in levels}
    return pd.DataFrame(columns, pd.Index(methods, name=head), dtype=object)


def _head(level: float) -> str:
    return f"p = {level:g}"


def _from_rows(rows: Sequence[Mapping[str, Cell]]) -> pd.DataFrame:
    """Return a frame whose index is the first cell of each row."""
    return pd.DataFrame(rows, dtype=object).set_index(next(iter(rows[0])))


def returns_table(panel: Panel, score: str, name: str, title: str) -> Table:
    """Return the true return of each method at each level, the best methods first."""
    levels = panel.measured(score)
    oracles = [method for method in panel.methods if method not in panel.competitors]

    def cell(method: str, level: float) -> Cell:
        return panel.estimate(method, level, score)

    marks: dict[tuple[str, str], str] = {}
    for level in levels:
        marks |= _marks(compare(panel, panel.competitors, level, score), _head(level))
    return Table(
        name=name,
        title=title,
        caption=f"IQM over seeds (95% interval). {_MARKED}",
        frame=by_level([*oracles, *panel.ranked()], levels, cell),
        marks=marks,
    )


def variations_table(main: Panel, others: Sequence[Panel], level: float) -> Table:
    """Return the methods that a variation has at a level, the main variation's return first."""
    known = {name for panel in others for name in panel.methods if len(panel.sample(name, level))}
    order = [*(name for name in main.methods if name not in main.competitors), *main.ranked()]
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
        bound = panel.estimate(panel.oracle, level).value if panel.oracle else nan
        value = panel.estimate(best, level)
        draw = f"draw of {len(compared.draw)}" if compared.draw else "alone"
        rows.append(
            {
                "p": f"{level:g}",
                "outcome": "win" if compared.winner else draw,
                "best": best,
                "true return": value,
                "next": others[0] if others else "-",
                "margin": compared.margin,
                "of the oracle": f"{value.value / bound:.0%}" if bound > 0 else "-",
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


def rules_table(panel: Panel, rules: Sequence[str]) -> Table:
    """Return the true return in unobserved episodes under every selection rule."""
    rows: list[Mapping[str, Cell]] = [
        {
            "method": method,
            "checkpoint": rule,
            **{_head(at): panel.estimate(method, at, rule=rule) for at in panel.measured()},
        }
        for method in panel.methods
        for rule in rules
    ]
    return Table(
        name="rules",
        title="All methods under all selection rules",
        caption="IQM over seeds (95% interval) of the true return in unobserved episodes.",
        frame=_from_rows(rows),
    )


def improvement_table(panel: Panel, routed: str) -> Table:
    """Return the probability that a method beats each other method, level by level."""

    def cell(other: str, level: float) -> Cell:
        return _chance(panel, routed, other, [level])

    return Table(
        name=f"improvement-{routed}",
        title=f"Probability that {routed} beats each other method",
        caption="Probability that a random run beats a random run of the other method; ties count "
        "half (95% interval).",
        frame=by_level(
            [method for method in panel.methods if method != routed],
            panel.measured(),
            cell,
            f"{routed} beats",
        ),
    )


def chances(panel: Panel, routed: str) -> dict[str, Estimate]:
    """Return the probability that a method beats each competitor, over the levels of both."""
    others = [method for method in panel.competitors if method != routed]
    found = {other: _chance(panel, routed, other, panel.measured()) for other in others}
    return {other: chance for other, chance in found.items() if chance.seeds}


def _chance(panel: Panel, method: str, other: str, levels: Iterable[float]) -> Estimate:
    pairs = [(panel.sample(method, level), panel.sample(other, level)) for level in levels]
    pairs = [(ones, others) for ones, others in pairs if len(ones) and len(others)]
    return improvement([ones for ones, _ in pairs], [others for _, others in pairs])


def efficiency_table(found: Mapping[str, Efficiency]) -> Table:
    """Return the observed episodes that each method needs, the fewest first."""
    order = sorted(found, key=lambda method: found[method].episodes.value)
    needed = {"observed episodes (95% interval)": [str(found[method]) for method in order]}
    return Table(
        name="label-efficiency",
        title=f"Observed episodes needed for {SHARE:.0%} of the oracle's return",
        caption="Between two levels the share of the oracle's return is taken to be linear in the "
        "logarithm of the episodes. Episodes that only select a checkpoint are counted.",
        frame=pd.DataFrame(needed, pd.Index(order, name="method")),
    )


def tax_table(panel: Panel) -> Table | None:
    """Return the loss of each method relative to plain PPO at full oversight, if that was run."""
    plain = panel.sample(PLAIN, 1.0, ALL)
    if not panel.estimate(PLAIN, 1.0, ALL).value > 0:  # false for NaN as well
        return None
    found = {method: panel.estimate(method, 1.0, ALL) for method in panel.methods}

    def loss(ones: Any, others: Any, axis: int) -> Any:  # noqa: ANN401
        return 1 - _ratio_of_iqms(ones, others, axis)

    rows: list[Mapping[str, Cell]] = []
    for method in sorted(panel.methods, key=lambda each: -found[each].value):
        reference = Estimate(0.0, 0.0, 0.0, len(plain)) if method == PLAIN else None
        tax = reference or bootstrap([panel.sample(method, 1.0, ALL), plain], loss)
        row = {"method": method, "true return": found[method], "tax": tax}
        rows += [{**row, "seeds": found[method].seeds}] if found[method].seeds else []
    return Table(
        name="tax",
        title="Alignment tax at full oversight",
        caption=f"At p = 1 every reward is observed and {PLAIN} is plain PPO. The tax is the share "
        "of its true return that a method loses; a negative tax is a gain.",
        frame=_from_rows(rows),
    )


def flag_flip_table(panel: Panel) -> Table | None:
    """Return the flag-flip gap of each method at each level, or None if none was measured."""
    levels = panel.measured(FLAG_FLIP_GAP)
    if not levels:
        return None

    def cell(method: str, level: float) -> Cell:
        return panel.estimate(method, level, FLAG_FLIP_GAP)

    return Table(
        name="flag-flip",
        title="Flag-flip gap",
        caption="True return with the oversight flag on minus that with the flag off, on the same "
        "boards and seeds: the part of the behavior that depends on being observed.",
        frame=by_level(panel.methods, levels, cell),
    )


def seeds_table(panel: Panel) -> Table:
    """Return the seeds of each method at each level."""

    def cell(method: str, level: float) -> Cell:
        return ranges(panel.cell(method, level).index)

    return Table(
        name=f"seeds-{panel.name}",
        title=f"Seeds of variation {panel.name}",
        caption=f"Seeds of the runs that have a checkpoint of rule {panel.rule}.",
        frame=by_level(panel.methods, panel.levels, cell),
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
    full = f" At p = 1, over that of {PLAIN}, which is plain PPO there, over all episodes."
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
