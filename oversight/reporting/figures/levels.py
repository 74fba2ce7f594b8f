"""Figures of true return against oversight level."""

from collections.abc import Sequence
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oversight.reporting.figures.drawing import Drawing
from oversight.reporting.figures.theme import MUTED, PAPER, Styles, label_ends, level_axis, sheet
from oversight.reporting.panel import Panel
from oversight.reporting.rows import OBSERVED, UNOBSERVED

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
