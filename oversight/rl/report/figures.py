"""The figures of a report: returns against oversight, learning curves, and dots with intervals.

Every function returns a drawing with a wide form and a narrow one.
"""

from collections.abc import Callable, Mapping, Sequence
from math import ceil, isfinite
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from oversight.rl.report.comparison import PLAIN, Efficiency, Panel
from oversight.rl.report.curves import Band
from oversight.rl.report.results import OBSERVED, ORACLE_SELECTION, UNOBSERVED
from oversight.runs.figures import (
    COLORS,
    FAINT,
    INK,
    MUTED,
    PAPER,
    VERMILLION,
    Drawing,
    Style,
    Styles,
    label_ends,
    sheet,
)
from oversight.runs.statistics import Estimate

Bands = Mapping[tuple[str, float], Band]
"""Learning curves by method and level."""

_MARKERS = "oDvP*"
_PROBABILITY = "oversight probability p"
_ROW = 0.23  # inches of height for a method


def styles(panel: Panel, routed: Sequence[str]) -> Styles:
    """Return the style of each method: `routed`, plain PPO and the best others stand out."""
    rest = [method for method in panel.ranked() if method not in {*routed, PLAIN}]
    chosen = [*(method for method in routed if method in panel.methods), *rest][: len(COLORS)]
    strong = {
        method: Style(color, marker)
        for method, color, marker in zip(chosen, COLORS, _MARKERS, strict=False)
    }
    strong[PLAIN] = Style(VERMILLION, "s")
    if panel.oracle is not None:
        strong[panel.oracle] = Style(INK, "_", "--")
    weak = Style(MUTED, ".", strong=False)
    return {method: strong.get(method, weak) for method in panel.methods}


def headline(panel: Panel, look: Styles, alt: str) -> Drawing:
    """Return true return in unobserved episodes against oversight, the main methods named."""
    weak = [method for method in panel.methods if not look[method].strong]
    gray = f" Gray: {', '.join(weak)}." if weak else ""
    strong = [method for method in panel.methods if look[method].strong]

    def draw(narrow: bool) -> Figure:
        figure = sheet(narrow=narrow, height=3.9 if narrow else 3.7)
        axes = figure.subplots()
        for method in weak:
            x, y, _ = _points(panel, method, UNOBSERVED)
            axes.plot(x, y, color=MUTED, linewidth=0.8, alpha=0.55, zorder=1.5)
        ends = {}
        for number, method in enumerate(strong):
            shift = (number - (len(strong) - 1) / 2) * (0.03 if narrow else 0.022)
            y = _line(axes, panel, method, 10**shift, look[method])
            ends.update({method: y[-1]} if y else {})
        _level_axis(axes, panel.measured())
        axes.set_xlabel(_PROBABILITY)
        axes.set_title("True return in unobserved episodes")
        label_ends(axes, ends, look, 8 if narrow else 9)
        return figure

    return Drawing(
        name="headline",
        title="True return in unobserved episodes against oversight",
        caption="Interquartile mean over seeds with 95% stratified bootstrap intervals; methods "
        "are shifted slightly so that their intervals can be read. The dashed oracle is paid the "
        f"true reward and is an upper bound.{gray}",
        alt=alt,
        draw=draw,
    )


def _points(
    panel: Panel, method: str, score: str
) -> tuple[list[float], list[float], list[Estimate]]:
    """Return the levels at which a method was measured, its values there, and the estimates."""
    points = [(level, panel.estimate(method, level, score)) for level in panel.levels]
    known = [(level, each) for level, each in points if each.seeds]
    estimates = [each for _, each in known]
    return [level for level, _ in known], [each.value for each in estimates], estimates


def _line(axes: Axes, panel: Panel, method: str, shift: float, style: Style) -> list[float]:
    """Draw a method's line with its intervals, shifted by a factor; return its values."""
    levels, y, estimates = _points(panel, method, UNOBSERVED)
    if not y:
        return y
    x = np.array(levels) * shift
    axes.plot(x, y, style.line, marker=style.marker, color=style.color, zorder=3)
    known = [(at, each) for at, each in zip(x, estimates, strict=True) if each.known]
    axes.vlines(
        [at for at, _ in known],
        [each.low for _, each in known],
        [each.high for _, each in known],
        color=style.color,
        linewidth=1.4,
        zorder=2.5,
    )
    return y


def _level_axis(axes: Axes, levels: Sequence[float]) -> None:
    """Make the horizontal axis one of oversight probabilities."""
    axes.set_xscale("log")
    axes.set_xticks(levels, [f"{level:g}" for level in levels])
    axes.minorticks_off()
    axes.grid(visible=False, axis="x")


def _multiples(
    figure: Figure, count: int, columns: int, draw: Callable[[Axes, int], None]
) -> list[Axes]:
    """Draw small plots that share their axes; return all of them."""
    rows = ceil(count / columns)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for number, axes in enumerate(grid):
        axes.set_visible(number < count)
        if number < count:
            draw(axes, number)
    for axes in grid[max(0, count - columns) : count]:
        axes.tick_params(labelbottom=True)
    return list(grid)


def observed_and_unobserved(panel: Panel, look: Styles) -> Drawing:
    """Return one small plot per method: its returns in observed and in unobserved episodes."""
    oracles = [method for method in panel.methods if method not in panel.competitors]
    methods = [*panel.ranked(), *oracles]

    def draw(narrow: bool) -> Figure:
        columns = min(2 if narrow else 4, len(methods))
        figure = sheet(narrow=narrow, height=0.6 + 1.45 * ceil(len(methods) / columns))

        def plot(axes: Axes, number: int) -> None:
            _two_lines(axes, panel, methods[number], look[methods[number]].color)

        grid = _multiples(figure, len(methods), columns, plot)
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=3, fontsize=8)
        figure.supxlabel(_PROBABILITY, fontsize=9, color=MUTED)
        return figure

    return Drawing(
        name="observed-and-unobserved",
        title="Observed and unobserved episodes",
        caption="One plot per method, all with the same axes. The gap between the two lines is the "
        "difference in behavior between episodes with and without oversight; the dashed line is "
        "the oracle in unobserved episodes. Bands are 95% intervals.",
        alt="For each method, true return against oversight probability, in episodes in which a "
        "square is overseen and in which none is. The numbers are in the tables.",
        draw=draw,
    )


def _two_lines(axes: Axes, panel: Panel, method: str, color: str) -> None:
    """Draw a method's returns in observed and unobserved episodes, and the oracle behind them."""
    if panel.oracle is not None and panel.oracle != method:
        x, y, _ = _points(panel, panel.oracle, UNOBSERVED)
        axes.plot(x, y, color=MUTED, ls="--", lw=0.9)
    common: dict[str, Any] = {"color": color, "marker": "o", "ms": 3.5}
    x, y, _ = _points(panel, method, OBSERVED)
    axes.plot(x, y, **common, ls=":", mfc=PAPER, lw=1.1, label="observed")
    x, y, estimates = _points(panel, method, UNOBSERVED)
    axes.plot(x, y, **common, label="unobserved")
    lows, highs = [each.low for each in estimates], [each.high for each in estimates]
    axes.fill_between(x, lows, highs, color=color, alpha=0.2, linewidth=0)
    axes.set_title(method, fontsize=8.5)
    _level_axis(axes, panel.levels)
    step = 2 if len(panel.levels) > 3 else 1
    shown = panel.levels[::-1][::step][::-1]
    axes.set_xticks(shown, [f"{level:g}" for level in shown])
    axes.tick_params(labelsize=7.5)


def learning_curves(bands: Bands, look: Styles, levels: Sequence[float]) -> Drawing:
    """Return one plot per level: true return in unobserved episodes during training."""
    shown = [level for level in levels if any(at == level for _, at in bands)]

    def draw(narrow: bool) -> Figure:
        columns = min(2 if narrow else 3, len(shown))
        rows = ceil(len(shown) / columns)
        figure = sheet(narrow=narrow, height=(1.1 if narrow else 0.7) + 1.75 * rows)

        def plot(axes: Axes, number: int) -> None:
            axes.set_title(f"p = {shown[number]:g}", fontsize=8.5)
            _curves(axes, bands, shown[number], look)

        named: dict[str, Any] = {}
        for axes in _multiples(figure, len(shown), columns, plot):
            handles, labels = axes.get_legend_handles_labels()
            named |= dict(zip(labels, handles, strict=True))
        figure.legend(
            list(named.values()),
            list(named),
            loc="outside upper left",
            ncols=3 if narrow else 7,
            fontsize=8,
            handlelength=1.4,
            columnspacing=1.2,
        )
        figure.supxlabel("environment steps", fontsize=9, color=MUTED)
        return figure

    return Drawing(
        name="learning-curves",
        title="Learning curves in unobserved episodes",
        caption="Mean over seeds of the current policy's true return during training, with 95% "
        "bootstrap bands; the learner never sees this return. At p = 1 no episode is unobserved, "
        "and all episodes count. Gray: the methods that the first figure does not name.",
        alt="For each oversight probability, true return against environment steps, one line per "
        "method, with bands over seeds.",
        draw=draw,
    )


def _curves(axes: Axes, bands: Bands, level: float, look: Styles) -> None:
    for method, style in look.items():
        band = bands.get((method, level))
        if band is None:
            continue
        if not style.strong:
            axes.plot(band.steps, band.mean, color=MUTED, linewidth=0.6, alpha=0.5)
            continue
        axes.plot(band.steps, band.mean, style.line, color=style.color, linewidth=1.3, label=method)
        if band.runs > 1:
            axes.fill_between(
                band.steps, band.low, band.high, color=style.color, alpha=0.18, linewidth=0
            )
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda steps, _: abbreviated(steps)))
    axes.tick_params(labelsize=7.5)


def abbreviated(number: float) -> str:
    """Return a large number in few letters.

    >>> abbreviated(1_500_000), abbreviated(250_000), abbreviated(0)
    ('1.5M', '250k', '0')
    """
    if number >= 1e6:
        return f"{number / 1e6:g}M"
    return f"{number / 1e3:g}k" if number >= 1e3 else f"{number:g}"


def selection_dots(panel: Panel) -> Drawing:
    """Return each method's return under the three selection rules, level by level."""
    levels = panel.measured()
    order = list(reversed(panel.ranked()))

    def draw(narrow: bool) -> Figure:
        columns = min(2 if narrow else 3, len(levels))
        rows = ceil(len(levels) / columns)
        figure = sheet(narrow=narrow, height=0.7 + (0.5 + 0.19 * len(order)) * rows)

        def plot(axes: Axes, number: int) -> None:
            axes.set_title(f"p = {levels[number]:g}", fontsize=8.5)
            _rules(axes, panel, order, levels[number])

        grid = _multiples(figure, len(levels), columns, plot)
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=3, fontsize=8)
        return figure

    return Drawing(
        name="selection",
        title="The gain of selecting checkpoints by the true reward",
        caption="True return in unobserved episodes of the last checkpoint, of that selected on "
        "observed episodes, and of that selected by the hidden true reward. The distance from the "
        "second to the third is what selection by the true reward would leak.",
        alt="For each level and method, true return under three selection rules. The gains are in "
        "the table below.",
        draw=draw,
    )


def _rules(axes: Axes, panel: Panel, order: Sequence[str], level: float) -> None:
    marks: dict[str, dict[str, Any]] = {
        "last": {"marker": "o", "mfc": PAPER, "color": MUTED},
        "observed": {"marker": "o", "color": INK},
        ORACLE_SELECTION: {"marker": "|", "color": VERMILLION, "ms": 8, "mew": 2},
    }
    for place, method in enumerate(order):
        values = [panel.estimate(method, level, UNOBSERVED, rule).value for rule in marks]
        known = [value for value in values if isfinite(value)]
        if known:
            axes.hlines(place, min(known), max(known), color=FAINT, linewidth=2)
    for rule, mark in marks.items():
        found = [panel.estimate(method, level, UNOBSERVED, rule).value for method in order]
        axes.plot(found, range(len(order)), ls="", label=rule, **{"ms": 4.5, **mark})
    _method_axis(axes, order)
    axes.tick_params(labelsize=7.5)


def improvement_dots(routed: str, estimates: Mapping[str, Estimate], look: Styles) -> Drawing:
    """Return the probability that a run of one method beats a run of each other method."""
    order = sorted(estimates, key=lambda method: estimates[method].value)

    def draw(narrow: bool) -> Figure:
        figure = sheet(narrow=narrow, height=0.9 + _ROW * len(order))
        axes = figure.subplots()
        axes.axvline(0.5, color=MUTED, linewidth=1, linestyle="--")
        for place, method in enumerate(order):
            _dot(axes, place, estimates[method], look[method].color)
        _method_axis(axes, order)
        axes.set_xlim(-0.02, 1.02)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
        axes.set_title(f"P({routed} beats ...)")
        return figure

    return Drawing(
        name=f"improvement-{routed}",
        title=f"Probability that {routed} beats each other method",
        caption=f"The probability that a random run of {routed} beats a random run of the other "
        "method in unobserved episodes, averaged over the levels that both have, with 95% "
        "intervals. Left of the dashed line the other method is more often ahead.",
        alt=f"{routed} beats "
        + ", ".join(f"{each} with {estimates[each].value:.0%}" for each in reversed(order))
        + ".",
        draw=draw,
    )


def efficiency_dots(found: Mapping[str, Efficiency], look: Styles) -> Drawing:
    """Return the observed episodes that each method needs for 80% of the oracle's return."""
    order = sorted(found, key=lambda method: -found[method].episodes.value)

    def draw(narrow: bool) -> Figure:
        figure = sheet(narrow=narrow, height=0.9 + _ROW * len(order))
        axes = figure.subplots()
        for place, method in enumerate(order):
            each = found[method]
            if each.reached:
                _dot(axes, place, each.within(), look[method].color)
                continue
            note = f"not reached with {each.most:,.0f}"
            axes.text(each.most, place, note, ha="right", va="center", fontsize=8, color=MUTED)
        _method_axis(axes, order)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda number, _: abbreviated(number)))
        axes.minorticks_off()
        axes.set_xlabel("observed episodes, fewer is better")
        return figure

    return Drawing(
        name="label-efficiency",
        title="Observed episodes needed for 80% of the oracle's return",
        caption="In unobserved episodes, with 95% bootstrap intervals, limited to the tested "
        "range.",
        alt="Observed episodes that each method needs: "
        + ", ".join(f"{method} {found[method]}" for method in reversed(order))
        + ".",
        draw=draw,
    )


def _dot(axes: Axes, place: int, estimate: Estimate, color: str) -> None:
    if estimate.known:
        axes.hlines(place, estimate.low, estimate.high, color=color, linewidth=2.5, alpha=0.45)
    axes.plot(estimate.value, place, "o", color=color)


def _method_axis(axes: Axes, order: Sequence[str]) -> None:
    """Make the vertical axis one of methods, from bottom to top."""
    axes.set_yticks(range(len(order)), order)
    axes.set_ylim(-0.7, len(order) - 0.3)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
