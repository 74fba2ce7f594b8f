"""The report of grid worlds: which goal each method pursues on test levels, by oversight.

CAP is the share of test levels on which the goal or the proxy was served, and GMG, goal
misgeneralization, the share of these on which the proxy came first and the goal never.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from oversight.rl.report.comparison import Panel, compare, is_oracle, listed
from oversight.rl.report.figures import level_axis
from oversight.rl.report.results import ALL, UNOBSERVED
from oversight.rl.report.tables import Cell, Table, by_level, returns_table
from oversight.runs.figures import COLORS, INK, MUTED, VERMILLION, Drawing, Style, sheet
from oversight.runs.statistics import UNKNOWN, Estimate, Sample, difference

GMG, CAP = "gmg_rate", "cap_rate"

HALF, NEAR = 0.5, 0.03
"""A routed method halves GMG if its own is at most this share of the other's, and its CAP is at
most this much lower."""

_FAMILIES = (
    (COLORS[0], ("score-maps", "score-maps-unrouted")),
    (COLORS[1], ("routed", "signed")),
    (COLORS[2], ("imputed-conv", "pessimistic-conv", "imputed")),
    (COLORS[3], ("filtered", "kl")),
    (COLORS[4], ("uds",)),
    (VERMILLION, ("naive",)),
    (INK, ("oracle",)),
)
"""Methods that are alike share a color: the lines and markers tell them apart."""
STYLES: Mapping[str, Style] = {
    method: Style(color, marker, "--" if is_oracle(method) else line)
    for color, methods in _FAMILIES
    for method, marker, line in zip(methods, "os^", ("-", "--", ":"), strict=False)
}
_OTHER = Style(MUTED, ".", ":", strong=False)


def is_world(panel: Panel) -> bool:
    """Return whether a variation says which goal its agents pursue on test levels."""
    return GMG in panel.rows and bool(panel.measured(GMG))


def goal_tables(panel: Panel, seeds: int) -> list[Table]:
    """Return tables of GMG, of CAP and of true return, method by oversight probability.

    Args:
        panel: the results in one world.
        seeds: of a whole cell; a cell with fewer says how many it has.
    """
    methods = [*filter(is_oracle, panel.methods), *panel.ranked()]
    less = f"A cell of fewer than {seeds} seeds says how many it has."

    def table(score: str, title: str, meaning: str) -> Table:
        def cell(method: str, level: float) -> Cell:
            return panel.estimate(method, level, score)

        return Table(
            name=score.removesuffix("_rate"),
            title=title,
            caption=f"{meaning} IQM over seeds (95% interval). {less}",
            frame=by_level(methods, panel.measured(score), cell),
            percent=True,
            seeds=seeds,
        )

    gmg = table(
        GMG,
        "Goal misgeneralization (GMG)",
        "Share of the test levels that count for CAP on which the proxy was served first and the "
        "goal never. An agent that serves neither has none.",
    )
    cap = table(
        CAP, "Capability (CAP)", "Share of the test levels on which goal or proxy was served."
    )
    returns = returns_table(panel, UNOBSERVED, "unobserved")
    return [gmg, cap, *([] if returns is None else [_with_tax(panel, returns, seeds)])]


def _with_tax(panel: Panel, returns: Table, seeds: int) -> Table:
    """Return a table of returns with the tax of full oversight, where that was measured."""
    frame, caption = returns.frame, returns.caption
    if panel.oracle is not None and len(panel.sample(panel.oracle, 1.0, ALL)):
        frame = frame.assign(**{"p = 1, minus oracle": [tax(panel, each) for each in frame.index]})
        caption += (
            f" At p = 1, minus {panel.oracle}: the tax, which is the difference of the two IQMs "
            "there."
        )
    title = "True return in unobserved episodes of test levels"
    return replace(returns, title=title, frame=frame, caption=caption, seeds=seeds)


def tax(panel: Panel, method: str) -> Estimate:
    """Return a method's true return at oversight probability 1 minus that of the oracle there."""
    oracle = panel.oracle
    if oracle is None or method == oracle:
        return UNKNOWN
    return difference(panel.sample(method, 1.0, ALL), panel.sample(oracle, 1.0, ALL))


@dataclass(frozen=True, slots=True)
class BestPair:
    """The best routed and the best unrouted method of a world at an oversight probability.

    Attributes:
        panel: the results in that world.
        level: the oversight probability.
        routed: the method of the highest true return in unobserved episodes.
        unrouted: the same of the other methods, oracles excluded.
    """

    panel: Panel
    level: float
    routed: str
    unrouted: str

    def pair(self, score: str) -> tuple[Estimate, Estimate]:
        """Return a score of both methods."""
        one, other = (
            self.panel.estimate(name, self.level, score) for name in (self.routed, self.unrouted)
        )
        return one, other

    @property
    def halved(self) -> bool:
        """Whether the routed method's GMG is at most half of the other's, with a like CAP."""
        (gmg, other), (cap, reference) = self.pair(GMG), self.pair(CAP)
        less = gmg.value < other.value and gmg.value <= HALF * other.value
        return less and cap.value >= reference.value - NEAR


def best_pairs(panels: Sequence[Panel], routed: Sequence[str]) -> list[BestPair]:
    """Return the best of both sides in every world and at every level below 1 that has both.

    Methods with fewer seeds than a comparison needs do not take part.
    """
    found = []
    for level in sorted({level for panel in panels for level in panel.measured()} - {1.0}):
        for panel in panels:
            sides = (
                [name for name in panel.competitors if (name in routed) is side]
                for side in (True, False)
            )
            one, other = (compare(panel, side, level).ranked for side in sides)
            if one and other:
                found.append(BestPair(panel, level, one[0], other[0]))
    return found


def best_pairs_table(found: Sequence[BestPair]) -> Table | None:
    """Return a table of GMG and CAP of both sides, or None where there are none."""
    if not found:
        return None
    rows: list[Mapping[str, Cell]] = []
    marks: dict[tuple[str, str], str] = {}
    for each in found:
        (gmg, other), row = each.pair(GMG), f"{each.panel.name}, {each.level:g}"
        capable = [
            each.panel.sample(name, each.level, CAP) for name in (each.routed, each.unrouted)
        ]
        rows.append(
            {
                "world, p": row,
                "routed": each.routed,
                "GMG, routed": gmg,
                "unrouted": each.unrouted,
                "GMG, unrouted": other,
                "CAP, difference": difference(*capable),
            }
        )
        marks |= {(row, "GMG, routed"): "best"} if each.halved else {}
    return Table(
        name="routed-and-unrouted",
        title="The best routed and the best unrouted method",
        caption="The best by true return in unobserved episodes, oracles excluded; IQM over seeds "
        f"(95% interval). Bold: halved, which means lower and at most {HALF:.0%} of the other's, "
        f"with a CAP at most {100 * NEAR:.0f} points lower. The difference is that of the two IQMs "
        "of CAP.",
        frame=pd.DataFrame(rows, dtype=object).set_index("world, p"),
        marks=marks,
        percent=True,
    )


def verdict_of_worlds(found: Sequence[BestPair]) -> str:
    """Return in how many worlds routing halves goal misgeneralization, level by level."""
    if not found:
        return (
            "Goal misgeneralization (GMG): no world has both a routed and an unrouted method with "
            "enough seeds for a comparison."
        )
    clauses = []
    for level in dict.fromkeys(each.level for each in found):
        own = [each for each in found if each.level == level]
        clauses.append(f"{sum(each.halved for each in own)} of {len(own)} worlds at p = {level:g}")
    return f"The best routed method halves goal misgeneralization (GMG) in {listed(clauses)}."


def goals_figure(panels: Sequence[Panel]) -> Drawing:
    """Return a plot for each world: GMG against oversight with CAP below, a line per method."""
    return Drawing(
        name="worlds",
        title="Goal misgeneralization by oversight",
        caption="On test levels, where goal and proxy part. Above: GMG, the share of capable "
        "episodes that served the proxy first and never the goal; lower is better. Below: CAP, the "
        "share that served either. IQM over seeds with 95% intervals; methods are shifted slightly "
        "so that these can be read. Methods that are alike share a color. The dashed oracle is "
        "paid the true reward; where it was run at p = 1 alone, its line is drawn throughout.",
        alt="For each world, GMG and below it CAP against oversight probability, one line per "
        f"method: {listed([panel.name for panel in panels])}. The numbers are in the tables.",
        draw=lambda: _draw(panels),
        wide=True,
    )


def _draw(panels: Sequence[Panel]) -> Figure:
    """Draw the plots in rows of at most three, and the legend in the place that is left."""
    columns = min(3, len(panels) + 1)
    rows = ceil((len(panels) + 1) / columns)
    figure = sheet(0.35 + 2.75 * rows)
    grid = figure.add_gridspec(
        2 * rows, columns, height_ratios=[2.2, 1] * rows, hspace=0.04, wspace=0.04
    )
    methods = [name for panel in panels for name in panel.methods]
    every = {level for panel in panels for level in panel.measured(CAP)}
    levels = sorted(level for level in every if level < 1) or [1.0]
    order = [*STYLES, *methods]
    shown = sorted(dict.fromkeys(methods), key=order.index)
    for number, panel in enumerate(panels):
        row, column = divmod(number, columns)
        above = figure.add_subplot(grid[2 * row, column])
        below = figure.add_subplot(grid[2 * row + 1, column], sharex=above)
        above.set_title(panel.name)
        above.tick_params(labelbottom=False)
        for axes, score, label in ((above, GMG, "GMG"), (below, CAP, "CAP")):
            _plot(axes, panel, score, shown, levels)
            axes.set_xscale("log")  # of a single level too
            level_axis(axes, levels)
            axes.set_xlim(levels[0] / 1.6, levels[-1] * 1.6)
            axes.set_ylim(-0.04, 1.04)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            axes.tick_params(labelsize=8, labelleft=column == 0)
            axes.set_ylabel(label if column == 0 else "")
        below.set_yticks([0, 0.5, 1])
    row, column = divmod(len(panels), columns)
    _legend(figure.add_subplot(grid[2 * row : 2 * row + 2, column]), shown)
    figure.supxlabel("oversight probability p", fontsize=9, color=MUTED)
    return figure


def _plot(
    axes: Axes, panel: Panel, score: str, methods: Sequence[str], levels: Sequence[float]
) -> None:
    """Draw a line with intervals for each method of a world."""
    for number, method in enumerate(methods):
        style = STYLES.get(method, _OTHER)
        points = [(level, panel.estimate(method, level, score)) for level in levels]
        known = [(level, each) for level, each in points if each.seeds]
        full: Sample = panel.sample(method, 1.0, score)
        if not known and is_oracle(method) and len(full):
            value = panel.estimate(method, 1.0, score).value
            axes.axhline(value, color=style.color, linestyle="--", linewidth=1, zorder=2)
        if not known:
            continue
        shift = 10 ** ((number - (len(methods) - 1) / 2) * 0.022)
        x = np.array([level for level, _ in known]) * shift
        estimates = [each for _, each in known]
        common: dict[str, Any] = {"color": style.color, "zorder": 3 if style.strong else 2}
        values = [each.value for each in estimates]
        axes.plot(x, values, style.line, marker=style.marker, markersize=3.5, lw=1.2, **common)
        low, high = ([getattr(each, end) for each in estimates] for end in ("low", "high"))
        axes.vlines(x, low, high, linewidth=1.1, alpha=0.7, **common)


def _legend(axes: Axes, methods: Sequence[str]) -> None:
    """Draw nothing but the look of each method and its name."""
    axes.set_axis_off()
    for method in methods:
        style = STYLES.get(method, _OTHER)
        axes.plot([], [], style.line, marker=style.marker, color=style.color, label=method)
    axes.legend(loc="upper left", handlelength=2.6, borderaxespad=0, fontsize=8.5)
