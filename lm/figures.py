"""The figures of a study, and the TensorBoard page of a run."""

from collections.abc import Collection, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch.utils.tensorboard.writer import SummaryWriter

from lm.methods import BASE, GOLD
from lm.report import (
    FACTS_CURVE,
    LOSS_CURVE,
    PANELS,
    REFERENCES,
    Result,
    Results,
    known_panels,
    mean_curve,
    number,
)
from oversight.runs.figures import COLORS, INK, MUTED, VERMILLION, Drawing, Style, sheet
from oversight.runs.statistics import Estimate

MARKERS = "oDvP*"
CURVES = {"forget loss, nats": LOSS_CURVE, "other forget facts known": FACTS_CURVE}
"""What is measured while an attack relearns, by the title of its plot."""
EXPLANATIONS = {
    "forget loss, nats": "after training on texts to forget",
    "other forget facts known": "after training on stories of one half of the facts, the share of "
    "the other half",
    "robust unlearning, nats": "forget loss after the worst attack minus that of the unrouted "
    "model before it; higher is better",
    "forget facts, share": "forget facts known after relearning others; 0.25 is chance",
    "retain loss, nats": "the cost",
}
"""How to read a plot, by its title."""
POSITIONS = (("",), ("Left", "Right"), ("Left", "Middle", "Right"))


def draw(results: Results, sweep: bool, folder: Path) -> list[Path]:
    """Write the figure of a study as PNG and SVG; return the PNG files, none without attacks.

    Args:
        results: of all runs.
        sweep: whether they are of a sweep over labels.
        folder: is made if needed.
    """
    if not any(result.get("curves") for result in results.records):
        return []
    drawing = recall_figure(results) if sweep else relearning_figure(results)
    folder.mkdir(parents=True, exist_ok=True)
    drawing.save(folder)
    return [folder / f"{drawing.name}.png"]


def styles(methods: Sequence[str]) -> dict[str, Style]:
    """Return the style of each method: colors, but ink for gold and vermillion for unrouted."""
    rest = [method for method in methods if method not in REFERENCES]
    look = {
        method: Style(
            COLORS[number % len(COLORS)],
            MARKERS[number % len(MARKERS)],
            "-" if number < len(COLORS) else ":",
        )
        for number, method in enumerate(rest)
    }
    return look | {GOLD: Style(INK, "_", "--"), BASE: Style(VERMILLION, "s")}


def relearning_figure(results: Results) -> Drawing:
    """Return the relearning curves: the worst case of the attack on each method by step."""
    look = styles(results.methods)
    curves = {
        title: {method: mean_curve(results, method, curve) for method in results.methods}
        for title, curve in CURVES.items()
    }
    panels = [title for title, means in curves.items() if any(means.values())] or list(CURVES)

    def plot(axes: Axes, title: str) -> None:
        for method, means in curves[title].items():
            _plot_band(axes, means, method, look[method])
        if "loss" in title:  # methods that suppress knowledge raise the loss manyfold
            axes.set_yscale("log", subs=(2, 3, 5))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("{x:g}")
        axes.set_xlabel("steps of the attack")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))

    return Drawing(
        name="relearning",
        title="Relearning curves",
        caption="The worst case over learning rates and numbers of examples, by step. "
        f"{_explained(panels)} Interquartile means over seeds, with 95% bootstrap bands.",
        alt="Forget loss and recalled forget facts against steps of the attack, by method.",
        draw=lambda narrow: _panels(panels, plot, narrow),
    )


def recall_figure(results: Results) -> Drawing:
    """Return robust unlearning and retain loss against label recall."""
    look = styles(results.methods)
    measures = known_panels(results) or PANELS

    def plot(axes: Axes, title: str) -> None:
        for method in results.methods:
            means, style = results.by_recall(method, measures[title]), look[method]
            if method in REFERENCES:  # they know no labels, or all
                for mean in means.values():
                    axes.axhline(mean.value, color=style.color, ls="--", lw=1.1, label=method)
            else:
                _plot_points(axes, means, method, style)
        axes.set_xlabel("label recall")

    return Drawing(
        name="label-recall",
        title="Unlearning with part of the labels",
        caption=f"{_explained(measures)} By the share of texts to forget that is labeled forget. "
        "Interquartile means over seeds, with 95% bootstrap intervals; gold knows all labels.",
        alt="Robust unlearning, facts and retain loss against label recall, by method.",
        draw=lambda narrow: _panels(list(measures), plot, narrow),
    )


def _panels(titles: Sequence[str], plot: Any, narrow: bool) -> Figure:  # noqa: ANN401
    """Return a figure of plots side by side, or below each other, with one legend."""
    figure = sheet(narrow=narrow, height=2.7 * len(titles) if narrow else 3.2)
    shape = (len(titles), 1) if narrow else (1, len(titles))
    grid = list(figure.subplots(*shape, squeeze=False).flat)
    for axes, title in zip(grid, titles, strict=True):
        plot(axes, title)
        axes.set_title(title)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=4, fontsize=8, labelcolor=MUTED)
    return figure


def _explained(titles: Collection[str]) -> str:
    """Return how to read plots, each with its position."""
    clauses = [
        f"{place}: {EXPLANATIONS[title]}." if place else f"{EXPLANATIONS[title].capitalize()}."
        for place, title in zip(POSITIONS[len(titles) - 1], titles, strict=True)
    ]
    return " ".join(clauses)


def _plot_band(axes: Axes, means: Mapping[int, Estimate], method: str, style: Style) -> None:
    if not means:
        return
    # gold's dashes stay visible on a line that coincides with it
    order = 3 if method == GOLD else 2
    steps, heights = list(means), [mean.value for mean in means.values()]
    axes.plot(steps, heights, style.line, color=style.color, label=method, lw=1.4, zorder=order)
    low, high = ([getattr(mean, end) for mean in means.values()] for end in ("low", "high"))
    axes.fill_between(steps, low, high, color=style.color, alpha=0.18, linewidth=0)


def _plot_points(axes: Axes, means: Mapping[float, Estimate], method: str, style: Style) -> None:
    recalls, heights = list(means), [mean.value for mean in means.values()]
    color = style.color
    axes.plot(recalls, heights, style.line, color=color, marker=style.marker, label=method)
    low, high = ([getattr(mean, end) for mean in means.values()] for end in ("low", "high"))
    axes.vlines(recalls, low, high, color=color, linewidth=1.4)


STAGES = ("before", "after", "repaired")
"""When a model is examined: before and after the ablation, and after the repair."""
SPLITS = ("forget", "adjacent", "retain")


def write_page(result: Result, folder: Path) -> None:
    """Write the TensorBoard events of a run into its folder, in place of earlier ones."""
    for old in folder.glob("events.out.tfevents.*"):
        old.unlink()
    with SummaryWriter(str(folder)) as writer:
        for tag, step, value in scalars(result):
            writer.add_scalar(tag, value, step)
        for stage, by_split in result.get("samples", {}).items():
            for split, texts in by_split.items():
                text = "\n\n".join([f"**{stage}**", *texts])
                writer.add_text(f"samples/{split}", text, STAGES.index(stage))


def scalars(result: Result) -> list[tuple[str, int, float]]:
    """Return tag, step and value of every point of a run's curves."""
    found = [
        (f"{split}/loss", step, number(result, f"{split}_loss.{stage}"))
        for split in SPLITS
        for step, stage in enumerate(STAGES)
    ]
    for name, points in result.get("training", {}).items():
        found += [(f"training/{name}", step, value) for step, value in points]
    for label, row in result.get("gradient_shares", {}).items():
        found += [(f"gradient_share_{target}/{label}", 0, share) for target, share in row.items()]
    for curve in result.get("curves", ()):
        setting = f"{curve['num_examples']}_examples_rate_{curve['learning_rate']:g}"
        for measure, values in curve["values"].items():
            tag = f"relearning_{curve['attack']}_{measure}/{setting}"
            found += [(tag, *point) for point in zip(curve["steps"], values, strict=True)]
    return [point for point in found if isfinite(point[2])]
