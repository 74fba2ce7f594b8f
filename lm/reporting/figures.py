"""The figures of unlearning: relearning curves, and what imperfect labels do."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lm.attack.interval import Estimate
from lm.reporting.curves import FACTS, LOSS, Band, band
from lm.reporting.labels import PANELS, Labelled, known_panels
from lm.reporting.runs import BASE, GOLD, Runs
from oversight.reporting.figures.drawing import Drawing
from oversight.reporting.figures.theme import COLORS, INK, MUTED, VERMILLION, Style, sheet

MARKERS = "oDvP*"
RELEARNED = {"forget loss, nats": LOSS, "other forget facts known": FACTS}
"""What is measured while a model relearns, by the title of its plot."""
SAID = {
    "forget loss, nats": "trained on texts to forget",
    "other forget facts known": "trained on stories of one half of the facts, asked for the other "
    "half",
    "robust unlearning, nats": "the forget loss after the worst attack less that of the unrouted "
    "model before it; higher is better",
    "forget facts, share": "facts to forget that are known when others were relearned; 0.25 is "
    "chance",
    "retain loss, nats": "the cost",
}
"""What a plot shows, by its title."""
PLACES = (("",), ("Left", "Right"), ("Left", "Middle", "Right"))
"""Where plots stand, by their number less one."""


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
    panels = {
        title: shown
        for title, shown in RELEARNED.items()
        if any(band(runs, method, shown) for method in runs.methods)
    } or RELEARNED

    def make(narrow: bool) -> Figure:
        figure, grid = _plots(len(panels), narrow)
        for axes, (title, shown) in zip(grid, panels.items(), strict=True):
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
        f"{_said(panels)} Interquartile means over seeds, with 95% bootstrap bands.",
        alt="Forget loss and recalled forget facts against steps of the attack, by method.",
        draw=make,
    )


def label_recall(labelled: Labelled) -> Drawing:
    """Return robust unlearning and retain loss against the share of stories labelled."""
    look = styles(labelled.methods)
    panels = known_panels(labelled) or PANELS

    def make(narrow: bool) -> Figure:
        figure, grid = _plots(len(panels), narrow)
        for axes, (title, measure) in zip(grid, panels.items(), strict=True):
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
        caption=f"{_said(panels)} By the share of texts to forget that is labelled. Interquartile "
        "means over seeds, with 95% bootstrap intervals; gold knows all labels.",
        alt="Robust unlearning, facts and retain loss against label recall, by method.",
        draw=make,
    )


def _plots(count: int, narrow: bool) -> tuple[Figure, Sequence[Axes]]:
    """Return a figure of some plots, side by side or below each other."""
    figure = sheet(narrow=narrow, height=2.7 * count if narrow else 3.2)
    shape = (count, 1) if narrow else (1, count)
    return figure, list(figure.subplots(*shape, squeeze=False).flat)


def _said(titles: Collection[str]) -> str:
    """Return what plots show, by where they stand."""
    clauses = [
        f"{place}: {SAID[title]}." if place else f"{SAID[title][0].upper()}{SAID[title][1:]}."
        for place, title in zip(PLACES[len(titles) - 1], titles, strict=True)
    ]
    return " ".join(clauses)


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
