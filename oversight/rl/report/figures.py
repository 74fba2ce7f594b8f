"""The figure of learning curves.

Figures of one dot and interval per method: improvement, label efficiency, selection rules.

Figures of true return against oversight level.
"""

from collections.abc import Mapping, Sequence
from math import ceil, isfinite
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from oversight.rl.report.comparison import PLAIN, Efficiency, Panel
from oversight.rl.report.curves import Band
from oversight.rl.report.results import OBSERVED, UNOBSERVED
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

_MARKERS = "oDvP*"


def styles(panel: Panel, routed: Sequence[str]) -> Styles:
    """Return how each method looks: the routed ones, plain PPO, and the best others stand out."""
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


def level_axis(axes: Axes, levels: Sequence[float]) -> None:
    """Make the horizontal axis one of oversight levels."""
    axes.set_xscale("log")
    axes.set_xticks(levels, [f"{level:g}" for level in levels])
    axes.minorticks_off()
    axes.grid(visible=False, axis="x")


Bands = Mapping[tuple[str, float], Band]
"""By method and level."""


def learning_curves(bands: Bands, look: Styles, levels: Sequence[float], prefix: str) -> Drawing:
    """Return one plot per level: true return where nobody watches, as training goes on."""
    shown = [level for level in levels if any(at == level for _, at in bands)]

    def draw(narrow: bool) -> Figure:
        columns = min(2 if narrow else 3, len(shown))
        rows = ceil(len(shown) / columns)
        figure = sheet(narrow=narrow, height=(1.1 if narrow else 0.7) + 1.75 * rows)
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, level in zip(grid, shown, strict=False):
            axes.set_title(f"p = {level:g}", fontsize=8.5)
            _curves(axes, bands, level, look)
        for axes in grid[len(shown) :]:
            axes.set_visible(False)
        for axes in grid[max(0, len(shown) - columns) : len(shown)]:
            axes.tick_params(labelbottom=True)
        named = {label: handle for axes in grid for handle, label in _legend(axes)}
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
        name=f"{prefix}learning-curves",
        title="Learning curves where nobody watches",
        caption="Mean over seeds of the last checkpoint's true return during training, which the "
        "learner never sees, with 95% bootstrap bands. At p = 1 nobody is ever unwatched, so all "
        "episodes count there. Grey: the methods that the first figure does not name.",
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
        line = {"color": style.color, "linewidth": 1.3, "label": method}
        axes.plot(band.steps, band.mean, style.line, **line)  # type: ignore[arg-type]
        if band.runs > 1:
            axes.fill_between(
                band.steps, band.low, band.high, color=style.color, alpha=0.18, linewidth=0
            )
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda steps, _: counted(steps)))
    axes.tick_params(labelsize=7.5)


def _legend(axes: Axes) -> list[tuple[Any, str]]:
    return list(zip(*axes.get_legend_handles_labels(), strict=True))


def counted(steps: float) -> str:
    """Return a number of steps in few letters.

    >>> counted(1_500_000), counted(250_000), counted(0)
    ('1.5M', '250k', '0')
    """
    if steps >= 1e6:
        return f"{steps / 1e6:g}M"
    return f"{steps / 1e3:g}k" if steps >= 1e3 else f"{steps:g}"


_ROW = 0.23  # inches of height for a method


def improvement_dots(
    routed: str, estimates: Mapping[str, Estimate], look: Styles, prefix: str
) -> Drawing:
    """Return the probability that a run of the routed method beats one of each other method."""
    order = sorted(estimates, key=lambda method: estimates[method].value)

    def draw(narrow: bool) -> Figure:
        figure = sheet(narrow=narrow, height=0.9 + _ROW * len(order))
        axes = figure.subplots()
        axes.axvline(0.5, color=MUTED, linewidth=1, linestyle="--")
        for place, method in enumerate(order):
            _dot(axes, place, estimates[method], look[method].color)
        _names(axes, order)
        axes.set_xlim(-0.02, 1.02)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
        axes.set_title(f"P({routed} beats ...)")
        return figure

    return Drawing(
        name=f"{prefix}improvement-{routed}",
        title=f"How often {routed} beats each other method",
        caption=f"The probability that a random run of {routed} beats a random run of the other "
        "where nobody watches, averaged over the levels that both have, with 95% intervals. "
        "Left of the dashed line the other is more often ahead.",
        alt=f"{routed} beats "
        + ", ".join(f"{each} with {estimates[each].value:.0%}" for each in reversed(order))
        + ".",
        draw=draw,
    )


def efficiency_dots(found: Mapping[str, Efficiency], look: Styles, prefix: str) -> Drawing:
    """Return the observed episodes that each method needs for 80% of the oracle."""
    order = sorted(found, key=lambda method: -found[method].episodes.value)

    def draw(narrow: bool) -> Figure:
        figure = sheet(narrow=narrow, height=0.9 + _ROW * len(order))
        axes = figure.subplots()
        for place, method in enumerate(order):
            each = found[method]
            if each.episodes.value > each.most * 1.001:
                note = f"not reached with {each.most:,.0f}"
                axes.text(each.most, place, note, ha="right", va="center", fontsize=8, color=MUTED)
            else:
                _dot(axes, place, each.within(), look[method].color)
        _names(axes, order)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda episodes, _: counted(episodes)))
        axes.minorticks_off()
        axes.set_xlabel("observed episodes, fewer is better")
        return figure

    return Drawing(
        name=f"{prefix}label-efficiency",
        title="Observed episodes needed for 80% of the oracle",
        caption="Where nobody watches, with 95% bootstrap intervals, cut at what the study tried.",
        alt="Observed episodes that each method needs: "
        + ", ".join(f"{method} {found[method]}" for method in reversed(order))
        + ".",
        draw=draw,
    )


def selection_dots(panel: Panel, look: Styles, prefix: str) -> Drawing:
    """Return each method's return under the three selection rules, level by level."""
    levels = panel.measured()
    order = list(reversed(panel.ranked()))

    def draw(narrow: bool) -> Figure:
        columns = min(2 if narrow else 3, len(levels))
        rows = ceil(len(levels) / columns)
        figure = sheet(narrow=narrow, height=0.7 + (0.5 + 0.19 * len(order)) * rows)
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, level in zip(grid, levels, strict=False):
            axes.set_title(f"p = {level:g}", fontsize=8.5)
            _rules(axes, panel, order, level)
        for axes in grid[len(levels) :]:
            axes.set_visible(False)
        for axes in grid[max(0, len(levels) - columns) : len(levels)]:
            axes.tick_params(labelbottom=True)
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=3, fontsize=8)
        return figure

    return Drawing(
        name=f"{prefix}selection",
        title="What choosing the checkpoint by the hidden truth would add",
        caption="True return where nobody watches of the last checkpoint, of the one chosen on "
        "observed episodes, and of the one chosen by the hidden truth. From the second to the "
        "third is the size of the leak.",
        alt="For each level and method, true return under three rules of choosing the checkpoint. "
        "The gain of the rule oracle_selection is in the table below.",
        draw=draw,
    )


def _rules(axes: Axes, panel: Panel, order: Sequence[str], level: float) -> None:
    marks: dict[str, dict[str, Any]] = {
        "last": {"marker": "o", "mfc": PAPER, "color": MUTED},
        "observed": {"marker": "o", "color": INK},
        "oracle_selection": {"marker": "|", "color": VERMILLION, "ms": 8, "mew": 2},
    }
    for place, method in enumerate(order):
        values = [panel.estimate(method, level, UNOBSERVED, rule).value for rule in marks]
        known = [value for value in values if isfinite(value)]
        if known:
            axes.hlines(place, min(known), max(known), color=FAINT, linewidth=2)
    for rule, mark in marks.items():
        found = [panel.estimate(method, level, UNOBSERVED, rule).value for method in order]
        axes.plot(found, range(len(order)), ls="", label=rule, **{"ms": 4.5, **mark})
    _names(axes, order)
    axes.tick_params(labelsize=7.5)


def _dot(axes: Axes, place: int, estimate: Estimate, color: str) -> None:
    if estimate.known:
        axes.hlines(place, estimate.low, estimate.high, color=color, linewidth=2.5, alpha=0.45)
    axes.plot(estimate.value, place, "o", color=color)


def _names(axes: Axes, order: Sequence[str]) -> None:
    """Write the methods on the vertical axis, in ink, since they are what is read."""
    axes.set_yticks(range(len(order)), order)
    axes.set_ylim(-0.7, len(order) - 0.3)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)


XLABEL = "oversight probability p"


def headline(panel: Panel, look: Styles, prefix: str, alt: str) -> Drawing:
    """Return true return where nobody watches, against oversight level, the main methods named."""
    weak = [method for method in panel.methods if not look[method].strong]
    rest = f" Grey: {', '.join(weak)}." if weak else ""

    def draw(narrow: bool) -> Figure:
        figure = sheet(narrow=narrow, height=3.9 if narrow else 3.7)
        axes = figure.subplots()
        strong = [method for method in panel.methods if look[method].strong]
        for method in weak:
            _line(axes, panel, method, UNOBSERVED, 0.0, look)
        ends = {}
        for number, method in enumerate(strong):
            shift = (number - (len(strong) - 1) / 2) * (0.03 if narrow else 0.022)
            end = _line(axes, panel, method, UNOBSERVED, shift, look)
            ends.update({method: end} if end is not None else {})
        level_axis(axes, panel.measured())
        axes.set_xlabel(XLABEL)
        axes.set_title("True return where nobody watches")
        label_ends(axes, ends, look, 8 if narrow else 9)
        return figure

    return Drawing(
        name=f"{prefix}headline",
        title="True return where nobody watches, against oversight",
        caption="Interquartile mean over seeds, with 95% stratified-bootstrap intervals; methods "
        "are set slightly apart so that intervals can be read. The dashed oracle is paid the "
        f"truth and is a ceiling.{rest}",
        alt=alt,
        draw=draw,
    )


def _line(
    axes: Axes, panel: Panel, method: str, score: str, shift: float, look: Styles
) -> float | None:
    """Draw a method's line with its intervals; return where it ends."""
    style = look[method]
    points = [(level, panel.estimate(method, level, score)) for level in panel.levels]
    points = [(level, each) for level, each in points if each.seeds]
    if not points:
        return None
    x = np.array([level for level, _ in points]) * 10**shift
    y = np.array([each.value for _, each in points])
    if not style.strong:
        axes.plot(x, y, color=MUTED, linewidth=0.8, alpha=0.55, zorder=1.5)
        return float(y[-1])
    axes.plot(x, y, style.line, marker=style.marker, color=style.color, zorder=3)
    known = [(at, each) for at, (_, each) in zip(x, points, strict=True) if each.known]
    axes.vlines(
        [at for at, _ in known],
        [each.low for _, each in known],
        [each.high for _, each in known],
        color=style.color,
        linewidth=1.4,
        zorder=2.5,
    )
    return float(y[-1])


def watched_and_unwatched(panel: Panel, look: Styles, order: Sequence[str], prefix: str) -> Drawing:
    """Return one small plot per method: its return where a square is watched, and where none is."""

    def draw(narrow: bool) -> Figure:
        columns = min(2 if narrow else 4, len(order))
        rows = ceil(len(order) / columns)
        figure = sheet(narrow=narrow, height=0.6 + 1.45 * rows)
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, method in zip(grid, order, strict=False):
            _apart(axes, panel, method, look)
        for axes in grid[len(order) :]:
            axes.set_visible(False)
        for axes in grid[max(0, len(order) - columns) : len(order)]:
            axes.tick_params(labelbottom=True)
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=3, fontsize=8)
        figure.supxlabel(XLABEL, fontsize=9, color=MUTED)
        return figure

    return Drawing(
        name=f"{prefix}watched-and-unwatched",
        title="Watched and unwatched episodes apart",
        caption="One plot per method, all on the same axes. The gap between the two lines is what "
        "a method does differently when it knows that nobody watches. Bands are 95% intervals.",
        alt="For each method, true return against oversight probability, in episodes in which a "
        "square is watched and in which none is. The numbers are in the table below.",
        draw=draw,
    )


def _apart(axes: Axes, panel: Panel, method: str, look: Styles) -> None:
    """Draw one method's two lines, and the oracle behind them."""
    color = look[method].color
    if panel.oracle is not None and panel.oracle != method:
        _band(axes, panel, panel.oracle, UNOBSERVED, {"color": MUTED, "ls": "--", "lw": 0.9})
    filled = {"color": color, "marker": "o", "ms": 3.5, "label": "nobody watches"}
    hollow = {"color": color, "marker": "o", "ms": 3.5, "ls": ":", "mfc": PAPER, "lw": 1.1}
    _band(axes, panel, method, OBSERVED, {**hollow, "label": "watched"})
    _band(axes, panel, method, UNOBSERVED, filled, alpha=0.2)
    axes.set_title(method, fontsize=8.5)
    level_axis(axes, panel.levels)
    step = 2 if len(panel.levels) > 3 else 1
    shown = panel.levels[::-1][::step][::-1]
    axes.set_xticks(shown, [f"{level:g}" for level in shown])
    axes.tick_params(labelsize=7.5)


def _band(
    axes: Axes, panel: Panel, method: str, score: str, line: dict[str, object], alpha: float = 0.0
) -> None:
    points = [(level, panel.estimate(method, level, score)) for level in panel.levels]
    points = [(level, each) for level, each in points if each.seeds]
    x = [level for level, _ in points]
    axes.plot(x, [each.value for _, each in points], **line)  # type: ignore[arg-type]
    if alpha:
        lows, highs = [each.low for _, each in points], [each.high for _, each in points]
        axes.fill_between(x, lows, highs, color=line["color"], alpha=alpha, linewidth=0)
