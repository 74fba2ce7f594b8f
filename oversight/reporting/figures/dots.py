"""Figures of one dot and interval per method: improvement, label efficiency, selection rules."""

from collections.abc import Mapping, Sequence
from math import ceil, isfinite
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from oversight.reporting.efficiency import Efficiency
from oversight.reporting.figures.curves import counted
from oversight.reporting.figures.drawing import Drawing
from oversight.reporting.figures.theme import FAINT, INK, MUTED, PAPER, VERMILLION, Styles, sheet
from oversight.reporting.panel import Panel
from oversight.reporting.rows import UNOBSERVED
from oversight.reporting.statistics import Estimate

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
        "The leaky rule's gain is in the table below.",
        draw=draw,
    )


def _rules(axes: Axes, panel: Panel, order: Sequence[str], level: float) -> None:
    marks: dict[str, dict[str, Any]] = {
        "last": {"marker": "o", "mfc": PAPER, "color": MUTED},
        "observed": {"marker": "o", "color": INK},
        "leaky": {"marker": "|", "color": VERMILLION, "ms": 8, "mew": 2},
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
