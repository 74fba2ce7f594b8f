"""The figures of unlearning: relearning curves, and what imperfect labels do.

TensorBoard's page of a run: losses by split, gradients, relearning curves and sample texts.

It is a function of the result: written again, it is the same page.
"""

from collections.abc import Collection, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch.utils.tensorboard.writer import SummaryWriter

from lm.report import (
    BASE,
    FACTS_CURVE,
    GOLD,
    LOSS_CURVE,
    PANELS,
    Band,
    Labeled,
    Result,
    Runs,
    band,
    known_panels,
    number,
)
from oversight.runs.figures import COLORS, INK, MUTED, VERMILLION, Drawing, Style, sheet
from oversight.runs.statistics import Estimate

MARKERS = "oDvP*"
RELEARNED = {"forget loss, nats": LOSS_CURVE, "other forget facts known": FACTS_CURVE}
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


def draw(told: Runs | Labeled, folder: Path) -> list[Path]:
    """Write the figure of runs of equal labels, or of a sweep over labels, as PNG and SVG.

    Returns:
        The PNG files; none if nothing was attacked.
    """
    if not any(result.get("curves") for result in told.results):
        return []
    drawing = label_recall(told) if isinstance(told, Labeled) else relearning(told)
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


def label_recall(labeled: Labeled) -> Drawing:
    """Return robust unlearning and retain loss against the share of stories labeled."""
    look = styles(labeled.methods)
    panels = known_panels(labeled) or PANELS

    def make(narrow: bool) -> Figure:
        figure, grid = _plots(len(panels), narrow)
        for axes, (title, measure) in zip(grid, panels.items(), strict=True):
            for method in labeled.methods:
                points = labeled.line(method, measure)
                if method in (GOLD, BASE):
                    _level(axes, points, method, look[method])
                else:
                    _points(axes, points, method, look[method])
            axes.set_title(title)
            axes.set_xlabel("share labeled")
        _legend(figure, grid[0])
        return figure

    return Drawing(
        name="label-recall",
        title="Unlearning with part of the labels",
        caption=f"{_said(panels)} By the share of texts to forget that is labeled. Interquartile "
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


STAGES = ("before", "after", "repaired")
"""When a model is examined: as trained, ablated, repaired."""
SPLITS = ("forget", "adjacent", "retain")


def write_page(result: Result, folder: Path) -> None:
    """Write the events of a run into a folder, in place of those that are there."""
    for old in folder.glob("events.out.tfevents.*"):
        old.unlink()
    with SummaryWriter(str(folder)) as writer:
        for tag, step, value in scalars(result):
            writer.add_scalar(tag, value, step)
        for stage, by_split in result.get("samples", {}).items():
            for split, texts in by_split.items():
                writer.add_text(f"samples/{split}", paragraphs(stage, texts), _step(stage))


def scalars(result: Result) -> list[tuple[str, int, float]]:
    """Return tag, step and value of every curve of a run."""
    stages = [
        (f"{split}/loss", _step(stage), number(result, f"{split}_loss.{stage}"))
        for split in SPLITS
        for stage in STAGES
    ]
    training = [
        (f"training/{name}", step, value)
        for name, points in result.get("training", {}).items()
        for step, value in points
    ]
    gradient = [
        (f"gradient_share_{target}/{label}", 0, share)
        for label, row in result.get("gradient_shares", {}).items()
        for target, share in row.items()
    ]
    found = [*stages, *training, *gradient, *_relearning(result.get("curves", ()))]
    return [point for point in found if isfinite(point[2])]


def _relearning(curves: Sequence[Mapping[str, Any]]) -> list[tuple[str, int, float]]:
    return [
        (
            f"relearning_{curve['attack']}_{measure}/"
            f"{curve['num_examples']}_examples_rate_{curve['learning_rate']:g}",
            step,
            value,
        )
        for curve in curves
        for measure, values in curve["values"].items()
        for step, value in zip(curve["steps"], values, strict=True)
    ]


def paragraphs(stage: str, texts: Sequence[str]) -> str:
    """Return sample texts as markdown."""
    return "\n\n".join([f"**{stage}**", *texts])


def _step(stage: str) -> int:
    return STAGES.index(stage)
