"""The figures of a report: returns against oversight, and learning curves."""

from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from oversight.rl.report.comparison import PLAIN, Panel, is_oracle
from oversight.rl.report.curves import Band
from oversight.rl.report.results import OBSERVED, UNOBSERVED
from oversight.runs.figures import (
    COLORS,
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
_RETURN = "true return"
_WIDTH = 4.8  # inches; a page shows the letters large enough on a phone too


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
    """Return true return in unobserved episodes: against oversight, or by method at one level."""
    several = len(panel.measured()) > 1
    weak = [method for method in panel.methods if not look[method].strong]
    gray = f" Gray: {', '.join(weak)}." if weak and several else ""
    form = (
        "Methods are shifted slightly so that their intervals can be read; the dashed oracle"
        if several
        else "The dashed line is the oracle, which"
    )
    return Drawing(
        name="headline",
        title="True return in unobserved episodes",
        caption="Interquartile mean over seeds with 95% stratified bootstrap intervals: with two "
        f"seeds their range, and none with one seed. {form} is paid the true reward and is an "
        f"upper bound.{gray}",
        alt=alt,
        draw=lambda: _by_level(panel, look) if several else _at_one_level(panel, look),
    )


def _by_level(panel: Panel, look: Styles) -> Figure:
    """Draw a line for each method against oversight, the main methods named at their ends."""
    figure = sheet(3.7, _WIDTH)
    axes = figure.subplots()
    strong = [method for method in panel.methods if look[method].strong]
    for method in panel.methods:
        if method not in strong:
            x, y, _ = _points(panel, method, UNOBSERVED)
            axes.plot(x, y, color=MUTED, linewidth=0.8, alpha=0.55, zorder=1.5)
    ends = {}
    for number, method in enumerate(strong):
        levels, y, estimates = _points(panel, method, UNOBSERVED)
        if not y:
            continue
        shifted = np.array(levels) * 10 ** ((number - (len(strong) - 1) / 2) * 0.026)
        style, ends[method] = look[method], y[-1]
        axes.plot(shifted, y, style.line, marker=style.marker, color=style.color, zorder=3)
        lows, highs = _ends(estimates)
        axes.vlines(shifted, lows, highs, color=style.color, linewidth=1.4, zorder=2.5)
    level_axis(axes, panel.measured())
    axes.set_xlabel(_PROBABILITY)
    axes.set_ylabel(_RETURN)
    axes.set_title("True return in unobserved episodes")
    label_ends(axes, ends, look, 9)
    return figure


def _at_one_level(panel: Panel, look: Styles) -> Figure:
    """Draw a point with its interval for each method, the best on top."""
    (level,) = panel.measured()
    order = [*reversed(panel.ranked()), *filter(is_oracle, panel.methods)]
    order = [method for method in order if panel.estimate(method, level).seeds]
    figure = sheet(1.0 + 0.25 * len(order), _WIDTH)
    axes = figure.subplots()
    if panel.oracle is not None and panel.oracle in order:
        axes.axvline(panel.estimate(panel.oracle, level).value, color=MUTED, linewidth=1, ls="--")
    for place, method in enumerate(order):
        estimate, color = panel.estimate(method, level), look[method].color
        axes.hlines(place, estimate.low, estimate.high, color=color, linewidth=2.5, alpha=0.45)
        axes.plot(estimate.value, place, "o", color=color)
    _method_axis(axes, order)
    axes.set_title(f"True return in unobserved episodes at p = {level:g}")
    return figure


def _method_axis(axes: Axes, methods: Sequence[str]) -> None:
    """Make the vertical axis one of methods, and the horizontal one of true returns."""
    axes.set_yticks(range(len(methods)), methods)
    axes.set_ylim(-0.7, len(methods) - 0.3)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(_RETURN)
    axes.set_ylabel("method")


def _points(
    panel: Panel, method: str, score: str
) -> tuple[list[float], list[float], list[Estimate]]:
    """Return the levels at which a method was measured, its values there, and the estimates."""
    points = [(level, panel.estimate(method, level, score)) for level in panel.levels]
    known = [(level, each) for level, each in points if each.seeds]
    estimates = [each for _, each in known]
    return [level for level, _ in known], [each.value for each in estimates], estimates


def _ends(estimates: Sequence[Estimate]) -> tuple[list[float], list[float]]:
    """Return the lower and the upper ends of intervals; matplotlib leaves out those of NaN."""
    return [each.low for each in estimates], [each.high for each in estimates]


def level_axis(axes: Axes, levels: Sequence[float]) -> None:
    """Make the horizontal axis one of oversight probabilities, logarithmic if there are several."""
    if len(levels) > 1:
        axes.set_xscale("log")
    axes.set_xticks(levels, [f"{level:g}" for level in levels])
    axes.minorticks_off()
    axes.grid(visible=False, axis="x")


def multiples(
    titles: Sequence[str],
    columns: int,
    height: float,
    label: str,
    draw: Callable[[Axes, int], None],
) -> Figure:
    """Return a figure of small plots that share their axes, with one legend above them.

    Args:
        titles: of the plots.
        columns: plots side by side, at most.
        height: of a row, in inches.
        label: of the horizontal axis.
        draw: draws the plot of a number.
    """
    columns = min(columns, len(titles))
    rows = ceil(len(titles) / columns)
    figure = sheet(0.9 + height * rows, _WIDTH)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    named: dict[str, Any] = {}
    for number, axes in enumerate(grid):
        axes.set_visible(number < len(titles))
        if number >= len(titles):
            continue
        draw(axes, number)
        axes.set_title(titles[number], fontsize=9)
        axes.tick_params(labelsize=8, labelbottom=number >= len(titles) - columns)
        handles, names = axes.get_legend_handles_labels()
        named |= dict(zip(names, handles, strict=True))
    figure.legend(
        list(named.values()), list(named), loc="outside upper left", ncols=4, handlelength=1.4
    )
    figure.supxlabel(label, fontsize=9, color=MUTED)
    figure.supylabel(_RETURN, fontsize=9, color=MUTED)
    return figure


def observed_and_unobserved(panel: Panel, look: Styles) -> Drawing:
    """Return each method's returns in observed and unobserved episodes: a plot each, or a row."""
    ranked, oracles = panel.ranked(), [*filter(is_oracle, panel.methods)]
    methods = [*ranked, *oracles]
    several = len(panel.levels) > 1

    def plot(axes: Axes, number: int) -> None:
        _two_lines(axes, panel, methods[number], look[methods[number]].color)

    def draw() -> Figure:
        if several:
            return multiples(methods, 3, 1.45, _PROBABILITY, plot)
        return _two_points(panel, [*reversed(ranked), *oracles], look)

    gap = "is the difference in behavior between episodes with and without oversight"
    lines = (
        f"One plot per method, all with the same axes. The gap between the two lines {gap}; the "
        "dashed line is the oracle in unobserved episodes. Bands are 95% intervals."
    )
    points = f"The line between the two points of a method {gap}. Intervals are in the tables."
    return Drawing(
        name="observed-and-unobserved",
        title="Observed and unobserved episodes",
        caption=lines if several else points,
        alt="For each method, true return against oversight probability, in episodes in which a "
        "square is overseen and in which none is. The numbers are in the tables.",
        draw=draw,
    )


def _two_points(panel: Panel, methods: Sequence[str], look: Styles) -> Figure:
    """Draw two points for each method at the only level, and a line between them."""
    (level,) = panel.levels
    figure = sheet(1.3 + 0.25 * len(methods), _WIDTH)
    axes = figure.subplots()
    for place, method in enumerate(methods):
        color = look[method].color
        seen, unseen = (
            panel.estimate(method, level, score).value for score in (OBSERVED, UNOBSERVED)
        )
        axes.hlines(place, seen, unseen, color=color, linewidth=1.2)
        axes.plot(seen, place, "o", color=color, mfc=PAPER, ms=5)
        axes.plot(unseen, place, "o", color=color, ms=5)
    _method_axis(axes, methods)
    axes.set_title(f"True return at p = {level:g}")
    for face, label in ((PAPER, "observed"), (MUTED, "unobserved")):
        axes.plot([], [], "o", color=MUTED, mfc=face, ms=5, label=label)
    figure.legend(loc="outside upper left", ncols=2, handlelength=1.4)
    return figure


def _two_lines(axes: Axes, panel: Panel, method: str, color: str) -> None:
    """Draw a method's returns in observed and unobserved episodes, and the oracle behind them."""
    if panel.oracle is not None and panel.oracle != method:
        x, y, _ = _points(panel, panel.oracle, UNOBSERVED)
        axes.plot(x, y, color=MUTED, ls="--", lw=0.9, marker="_", label=panel.oracle)
    common: dict[str, Any] = {"color": color, "marker": "o", "ms": 3.5}
    x, y, _ = _points(panel, method, OBSERVED)
    axes.plot(x, y, **common, ls=":", mfc=PAPER, lw=1.1, label="observed")
    x, y, estimates = _points(panel, method, UNOBSERVED)
    axes.plot(x, y, **common, label="unobserved")
    lows, highs = _ends(estimates)
    axes.fill_between(x, lows, highs, color=color, alpha=0.2, linewidth=0)
    axes.vlines(x, lows, highs, color=color, alpha=0.5, linewidth=1.2)
    level_axis(axes, panel.levels)
    shown = panel.levels[:: -2 if len(panel.levels) > 3 else -1]
    axes.set_xticks(shown, [f"{level:g}" for level in shown])


def learning_curves(bands: Bands, look: Styles, levels: Sequence[float]) -> Drawing:
    """Return one plot per level: true return in unobserved episodes during training."""
    shown = [level for level in levels if any(at == level for _, at in bands)]
    titles = [f"p = {level:g}" for level in shown]

    weak = any(not style.strong for style in look.values())
    gray = " Gray: the methods that the first figure does not name." if weak else ""

    def plot(axes: Axes, number: int) -> None:
        _curves(axes, bands, shown[number], look)

    return Drawing(
        name="learning-curves",
        title="Learning curves in unobserved episodes",
        caption="Mean over seeds of the current policy's true return during training, with 95% "
        "bootstrap bands; the learner never sees this return. At p = 1 no episode is unobserved, "
        f"and all episodes count.{gray}",
        alt="For each oversight probability, true return against environment steps, one line per "
        "method, with bands over seeds.",
        draw=lambda: multiples(titles, 2, 1.75, "environment steps", plot),
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
        axes.fill_between(
            band.steps, band.low, band.high, color=style.color, alpha=0.18, linewidth=0
        )
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda steps, _: abbreviated(steps)))


def abbreviated(number: float) -> str:
    """Return a large number in few letters.

    >>> abbreviated(1_500_000), abbreviated(250_000), abbreviated(0)
    ('1.5M', '250k', '0')
    """
    if number >= 1e6:
        return f"{number / 1e6:g}M"
    return f"{number / 1e3:g}k" if number >= 1e3 else f"{number:g}"
