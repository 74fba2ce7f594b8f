"""The figures of unlearning: relearning curves, and what imperfect labels do."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lm.attack.interval import Estimate
from lm.reporting.curves import FACTS, LOSS, Band, band
from lm.reporting.labels import PANELS, Labelled
from lm.reporting.runs import BASE, GOLD, Runs
from oversight.reporting.figures.drawing import Drawing
from oversight.reporting.figures.theme import COLORS, INK, MUTED, VERMILLION, Style, sheet

MARKERS = "oDvP*"
RELEARNED = {"forget loss, nats": LOSS, "other forget facts known": FACTS}
"""What is measured while a model relearns, by the title of its plot."""


def draw(told: Runs | Labelled, folder: Path) -> list[Path]:
    """Write the figure of runs of equal labels, or of a sweep over labels, as PNG and SVG.

    Returns:
        The PNG files; none if nothing was attacked.
    """
    if not any(result.get("curves") for result in told.results):
        return []
    drawing = label_recall(told) if isinstance(told, Labelled) else relearning(told)
    folder.mkdir(parents=True, exist_ok=True)
    drawing.save(folder)
    return [folder / f"{drawing.name}.png"]


def styles(methods: Sequence[str]) -> dict[str, Style]:
    """Return how each method looks: the references in ink and vermillion, the others in colors."""
    rest = [method for method in methods if method not in (GOLD, BASE)]
    look = {
        method: Style(COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)], line)
        for number, method in enumerate(rest)
        for line in ["-" if number < len(COLORS) else ":"]
    }
    return look | {GOLD: Style(INK, "_", "--"), BASE: Style(VERMILLION, "s")}


def relearning(runs: Runs) -> Drawing:
    """Return what the worst attack on each method has brought back by each step."""
    look = styles(runs.methods)

    def make(narrow: bool) -> Figure:
        figure = sheet(narrow=narrow, height=5.4 if narrow else 3.2)
        grid = figure.subplots(2, 1) if narrow else figure.subplots(1, 2)
        for axes, (title, shown) in zip(grid, RELEARNED.items(), strict=True):
            for method in runs.methods:
                _line(axes, band(runs, method, shown), method, look[method])
            if shown.measure.endswith("loss"):  # what hides knowledge raises it manyfold
                axes.set_yscale("log", subs=(2, 3, 5))
                axes.yaxis.set_major_formatter("{x:g}")
                axes.yaxis.set_minor_formatter("{x:g}")
            axes.set_title(title)
            axes.set_xlabel("steps of the attack")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        _legend(figure, grid[0])
        return figure

    return Drawing(
        name="relearning",
        title="Relearning curves",
        caption="The worst that any learning rate and number of examples has done by each step. "
        "Left: trained on stories to forget. Right: trained on those of one half of the facts, "
        "asked for the other half. Interquartile means over seeds, with 95% bootstrap bands.",
        alt="Forget loss and recalled forget facts against steps of the attack, by method.",
        draw=make,
    )


def label_recall(labelled: Labelled) -> Drawing:
    """Return robust unlearning and retain loss against the share of stories labelled."""
    look = styles(labelled.methods)

    def make(narrow: bool) -> Figure:
        figure = sheet(narrow=narrow, height=8.0 if narrow else 3.2)
        grid = figure.subplots(3, 1) if narrow else figure.subplots(1, 3)
        for axes, (title, measure) in zip(grid, PANELS.items(), strict=True):
            for method in labelled.methods:
                points = labelled.line(method, measure)
                if method in (GOLD, BASE):
                    _level(axes, points, method, look[method])
                else:
                    _points(axes, points, method, look[method])
            axes.set_title(title)
            axes.set_xlabel("share labelled")
        _legend(figure, grid[0])
        return figure

    return Drawing(
        name="label-recall",
        title="Unlearning with part of the labels",
        caption="Left: the forget loss after the worst attack less that of the unrouted model "
        "before it; higher is better. Middle: facts to forget that are known when others were "
        "relearned; 0.25 is chance. Right: the cost. By the share of stories to forget that is "
        "labelled. Interquartile means over seeds, with 95% "
        "bootstrap intervals; gold knows all labels.",
        alt="Robust unlearning, facts and retain loss against label recall, by method.",
        draw=make,
    )


def _line(axes: Axes, shown: Band, method: str, style: Style) -> None:
    if not shown:
        return
    steps = list(shown)
    axes.plot(
        steps,
        [mean.value for mean in shown.values()],
        style.line,
        color=style.color,
        label=method,
        linewidth=1.4,
        zorder=3 if method == GOLD else 2,  # dashes show on a line that lies where gold's does
    )
    axes.fill_between(
        steps,
        [mean.low for mean in shown.values()],
        [mean.high for mean in shown.values()],
        color=style.color,
        alpha=0.18,
        linewidth=0,
    )


def _points(axes: Axes, points: Mapping[float, Estimate], method: str, style: Style) -> None:
    shares, means = list(points), list(points.values())
    heights = [mean.value for mean in means]
    line = {"color": style.color, "marker": style.marker, "label": method}
    axes.plot(shares, heights, style.line, **line)  # type: ignore[arg-type]
    axes.vlines(
        shares, [m.low for m in means], [m.high for m in means], color=style.color, linewidth=1.4
    )


def _level(axes: Axes, points: Mapping[float, Estimate], method: str, style: Style) -> None:
    """Draw a reference, which knows no labels, as a line across."""
    for mean in points.values():
        axes.axhline(mean.value, color=style.color, linestyle="--", linewidth=1.1, label=method)


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=4, fontsize=8, labelcolor=MUTED)
