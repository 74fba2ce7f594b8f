"""The figures of a study of steering, and the TensorBoard page of a run."""

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch.utils.tensorboard.writer import SummaryWriter

from lm.steering.config import RunConfig
from lm.steering.report import CONTROLS, RANKED, SCALAR, Result, Results, ceiling
from lm.steering.training import NOTES
from oversight.runs.figures import (
    COLORS,
    FAINT,
    INK,
    MUTED,
    VERMILLION,
    Style,
    save_figure,
    sheet,
    themed,
)
from oversight.runs.folder import read_json
from oversight.runs.statistics import Estimate, estimate

STYLES: Mapping[str, Style] = {
    SCALAR: Style(INK, "o"),
    "mean-difference (routed)": Style(COLORS[4], "D", "--"),
    "next-token (routed)": Style(COLORS[1], "v", "--"),
    "caa (unrouted)": Style(VERMILLION, "s"),
    "mean-difference (unrouted)": Style(COLORS[0], "D"),
    "next-token (unrouted)": Style(COLORS[1], "v"),
    "embedding (unrouted)": Style(COLORS[2], "P", ":"),
    "random (unrouted)": Style(MUTED, "x", ":"),
}
"""How each method looks; the controls are dotted."""
HIGHEST = 0.5
"""Largest rise of the loss that is drawn, in nats."""
GRID = tuple(np.linspace(0.0, HIGHEST, 26))


def draw(results: Results, config: RunConfig, folder: Path) -> list[Path]:
    """Write the figures of a study as PNG and SVG into a folder, and return the PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    with themed():
        figures = {
            "head-to-head": head_to_head(results, config),
            "steering-curves": steering_curves(results),
            "absorption": absorption_figure(results),
        }
        return [save_figure(figure, folder, name) for name, figure in figures.items()]


def head_to_head(results: Results, config: RunConfig) -> Figure:
    """Return the rate of the concept over that in texts, over the cost in loss, by method."""
    figure = sheet(4.2)
    axes = figure.subplots()
    for name in results.methods:
        several = results.steering(name).items()
        bands = fold_by_cost(
            [each["curve"] for _, each in several],
            [results.natural_rates[seed] for seed, _ in several],
        )
        _plot_band(axes, bands, name)
    for budget in config.steering.budgets:
        axes.axvline(budget, color=MUTED, linewidth=0.6, linestyle=":")
    natural = estimate([*results.natural_rates.values()]).value
    heights = [ceiling(cost) / natural for cost in GRID[1:]]
    axes.plot(GRID[1:], heights, color=FAINT, label="ceiling", linewidth=1.2)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}x")
    axes.set_xlim(0, HIGHEST)
    axes.set_xlabel("rise of the held-out loss, nats per token")
    axes.set_ylabel("rate of the concept over that in texts")
    axes.set_title(f"Steering toward {' '.join(config.corpus.concept_words)} at equal cost")
    figure.legend(loc="outside right upper", fontsize=8, labelcolor=MUTED)
    return figure


def fold_by_cost(
    curves: Sequence[Sequence[Mapping[str, float]]], natural_rates: Sequence[float]
) -> dict[float, Estimate]:
    """Return the ratio of the rate to that in texts at each cost of `GRID`, over seeds.

    Points whose cost is below that of one before are left out.
    """
    found: dict[float, list[float]] = {cost: [] for cost in GRID}
    for points, natural in zip(curves, natural_rates, strict=True):
        costs = [point["loss"] - points[0]["loss"] for point in points]
        folds = [point["rate"] / natural for point in points]
        costs, folds = _rising(costs, folds)
        for cost in GRID:
            if cost <= costs[-1]:
                found[cost].append(float(np.interp(cost, costs, folds)))
    return {cost: estimate(values) for cost, values in found.items() if len(values) == len(curves)}


def _rising(costs: Sequence[float], folds: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return the points of a curve whose cost is above that of all before, from 0 on."""
    kept: tuple[list[float], list[float]] = ([], [])
    for cost, fold in zip(costs, folds, strict=True):
        if not kept[0] or cost > kept[0][-1]:
            kept[0].append(cost)
            kept[1].append(fold)
    return kept


def steering_curves(results: Results) -> Figure:
    """Return the rate of the concept, of related words and the loss over the coefficient."""
    figure = sheet(3.4, 10.0)
    plots = list(figure.subplots(1, 3))
    titles = {"rate": "Concept", "related": "Related words", "loss": "Loss"}
    for axes, (measure, title) in zip(plots, titles.items(), strict=True):
        for name in results.methods:
            curves = [each["curve"] for each in results.steering(name).values()]
            _plot_band(axes, by_coefficient(curves, measure), name)
        axes.set_title(title)
        axes.set_xlabel("coefficient, mean norms")
        axes.set_xscale("symlog", linthresh=0.1)
        axes.xaxis.set_major_formatter("{x:g}")
        if measure != "loss":
            axes.set_yscale("log")
    plots[0].set_ylabel("mean probability")
    plots[2].set_ylabel("nats per token")
    handles, labels = plots[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=4, fontsize=8, labelcolor=MUTED)
    return figure


def by_coefficient(
    curves: Sequence[Sequence[Mapping[str, float]]], measure: str
) -> dict[float, Estimate]:
    """Return a measure at each coefficient over the curves of seeds."""
    return {
        points[0]["coefficient"]: estimate([point[measure] for point in points])
        for points in zip(*curves, strict=True)
    }


def absorption_figure(results: Results) -> Figure:
    """Return the percentile ranks of each group of tokens, by model."""
    figure = sheet(2.4)
    axes = figure.subplots()
    groups = results.groups
    for number, (title, kind, random) in enumerate(RANKED):
        if not results.runs(kind):
            continue
        means = [estimate([*results.ranks(kind, each, random=random).values()]) for each in groups]
        places = np.arange(len(groups)) + 0.22 * (number - 1)
        color = (INK, VERMILLION, MUTED)[number]
        axes.plot([mean.value for mean in means], places, "o", color=color, label=title)
        axes.hlines(places, [m.low for m in means], [m.high for m in means], color=color)
    axes.set_yticks(range(len(groups)), groups)
    axes.invert_yaxis()
    axes.set_xlim(-2, 102)
    axes.axvline(5, color=MUTED, linewidth=0.6, linestyle=":")
    axes.set_xlabel("percentile rank of alignment with the dimension: 0 is the best aligned token")
    axes.legend(fontsize=8, labelcolor=MUTED)
    return figure


def _plot_band(axes: Axes, means: Mapping[float, Estimate], name: str) -> None:
    if not means:
        return
    style, places = STYLES[name], list(means)
    heights = [mean.value for mean in means.values()]
    width = 2.2 if name == SCALAR else 1.2
    axes.plot(places, heights, style.line, color=style.color, label=name, linewidth=width)
    if name not in CONTROLS:
        low, high = ([getattr(mean, end) for mean in means.values()] for end in ("low", "high"))
        axes.fill_between(places, low, high, color=style.color, alpha=0.15, linewidth=0)


def write_page(result: Result, folder: Path) -> None:
    """Write the TensorBoard events of a run into its folder, replacing earlier ones."""
    for old in folder.glob("events.out.tfevents.*"):
        old.unlink()
    with SummaryWriter(str(folder)) as writer:
        for tag, step, value in scalars(result, read_json(folder / NOTES).get("loss", [])):
            writer.add_scalar(tag, value, step)
        for name, each in {"not steered": result, **result["steering"]}.items():
            if each.get("samples"):
                writer.add_text(f"samples/{name}", "\n\n".join(each["samples"]["texts"]))


def scalars(result: Result, losses: Sequence[Sequence[Any]]) -> list[tuple[str, int, float]]:
    """Return tag, step and value of every point of a run; the step of a curve is its point."""
    found = [("training/loss", int(step), float(value)) for step, value in losses]
    found += [(f"rank/{group}", 0, value) for group, value in result["ranks"].items()]
    for method, each in result["steering"].items():
        for step, point in enumerate(each["curve"]):
            for measure in ("loss", "rate", "related"):
                found.append((f"{measure}/{method}", step, point[measure]))
    return [point for point in found if point[2] is not None and isfinite(point[2])]
