"""The figures of a study, and the TensorBoard page of a run."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from torch.utils.tensorboard.writer import SummaryWriter

from lm.config import Sweep
from lm.evaluation.topic_exam import CORE
from lm.label_map import Comparison, Outcome, label_map
from lm.methods import BASE, GOLD
from lm.profile_report import RATIO, Profiles
from lm.report import FACTS_CURVE, LOSS_CURVE, PANELS, Relearning, known_panels, mean_curve
from lm.results import REFERENCES, Result, Results, number, topics_in_words
from lm.serving import subsets
from lm.tax_report import Tax
from oversight.runs.figures import (
    COLORS,
    FAINT,
    INK,
    MUTED,
    PAPER,
    VERMILLION,
    WIDTH,
    Style,
    save_figure,
    sheet,
    themed,
)
from oversight.runs.statistics import Estimate

MARKERS = "oDvP*"
UNITS = {"nats": "nats per token", "share": "share known"}
"""Labels of vertical axes, by units."""
_MANYFOLD = 3.0
"""Ratio of losses from which they are drawn on a logarithmic axis, which has labels enough then."""


def draw(results: Results, sweep: Sweep, folder: Path) -> list[Path]:
    """Write the figures of a study as PNG and SVG; return the PNG files.

    There is a figure of attacks, if some were run, one of profiles, if they were examined, and one
    of the tax, in a sweep over it.

    Args:
        results: results of all runs.
        sweep: what the study varies.
        folder: folder of the figures, which is made if needed.
    """
    figures = dict(FIGURES[sweep](results))
    for name, profiles in _profiles(results, sweep):
        if profiles.pictured:
            figures[name] = partial(profiles_figure, profiles)
    if figures:
        folder.mkdir(parents=True, exist_ok=True)
    with themed():
        return [save_figure(make(), folder, name) for name, make in figures.items()]


Figures = Mapping[str, Callable[[], Figure]]
"""Functions that make the figures of a study, by the names of their files."""


def _figures_of_methods(results: Results) -> Figures:
    """Return the relearning curves, if attacks were run."""
    attacked = any(result.get("curves") for result in results.records)
    return {"relearning": partial(relearning_figure, results)} if attacked else {}


def _figures_over_labels(results: Results) -> Figures:
    """Return the results by label recall at each precision, and the map of labels."""
    found: dict[str, Callable[[], Figure]] = {
        name: partial(recall_figure, part)
        for name, part in _by_precision(results).items()
        if any(result.get("curves") for result in part.records)
    }
    mapped = label_map(results)
    return found | ({"label-map": partial(map_figure, mapped)} if mapped else {})


def _figures_over_tax(results: Results) -> Figures:
    """Return the tax, if a method with an expansion is finished."""
    return {"tax": partial(tax_figure, results)} if results.expansions else {}


FIGURES: Mapping[Sweep, Callable[[Results], Figures]] = {
    "none": _figures_of_methods,
    "labels": _figures_over_labels,
    "tax": _figures_over_tax,
}
"""The figures of a study by what it varies."""


def _by_precision(results: Results) -> dict[str, Results]:
    """Return the results of each label precision by the name of their figure."""
    several = len(results.precisions) > 1
    return {
        "label-recall" + (f"-precision{each:g}" if several else ""): results.at(precision=each)
        for each in results.precisions
    }


def _profiles(results: Results, sweep: Sweep) -> list[tuple[str, Profiles]]:
    """Return the profiles of each figure by its name: in a sweep, one for each value of it."""
    if sweep == "none":
        return [("profiles", Profiles(results))]
    if sweep == "tax":
        sizes = results.expansions
        return [(f"profiles-expansion{e}", Profiles(results.at(expansion=e))) for e in sizes]
    return [
        (f"profiles{name.removeprefix('label-recall')}-recall{recall:g}", Profiles(part.at(recall)))
        for name, part in _by_precision(results).items()
        for recall in part.recalls
    ]


CELL = (0.62, 0.235)
"""Width and height of a cell of the heat map, in inches."""
MOST_ROWS = 64
"""Maximum number of profiles of a heat map that shows them all."""
SHADES = LinearSegmentedColormap.from_list("compute", ["#f4f6f7", "#7fb2d6", COLORS[0], "#003a5d"])
"""Colors of compute ratios from 0 to 1."""


def profiles_figure(profiles: Profiles) -> Figure:
    """Return a heat map for each method: the compute ratio of each profile on each topic.

    A frame marks the topics that a profile keeps. Profiles that a method does not have are empty.
    """
    rows, columns = pictured_rows(profiles.topics), [CORE, *profiles.topics]
    methods = profiles.pictured
    names = 0.075 * max(len(row_name(kept)) for kept in rows)  # inches
    width = names + len(methods) * (CELL[0] * len(columns) + 0.3) + 0.5
    figure = sheet(CELL[1] * len(rows) + 1.1, max(width, WIDTH))
    plots = list(figure.subplots(1, len(methods), squeeze=False, sharey=True).flat)
    for axes, method in zip(plots, methods, strict=True):
        cells = profiles.cells(method, RATIO)
        axes.set_title(method)
        for y, kept in enumerate(rows):
            for x, topic in enumerate(columns):
                mean = cells.get(kept, {}).get(topic)
                _draw_cell(axes, (x, y), mean, framed=topic == CORE or topic in kept)
        axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
        axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right")
        axes.set_yticks(range(len(rows)), [row_name(kept) for kept in rows])
        axes.tick_params(length=0)
        axes.grid(visible=False)
        for side in axes.spines.values():
            side.set_visible(False)
    plots[0].set_ylabel("topics that are on")
    scale = ScalarMappable(Normalize(0, 1), SHADES)
    figure.colorbar(scale, ax=plots, label="compute ratio", extend="max", shrink=0.6, aspect=30)
    return figure


def pictured_rows(topics: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the profiles of the heat map: all, or of many topics those with none, one and all."""
    rows = subsets(topics)
    if len(rows) <= MOST_ROWS:
        return rows
    return [kept for kept in rows if len(kept) in (0, 1, len(topics))]


def row_name(kept: Sequence[str]) -> str:
    """Return the name of a profile in a figure.

    >>> row_name([]), row_name(["forest", "sea"])
    ('none', 'forest + sea')
    """
    return " + ".join(kept) or "none"


def _draw_cell(axes: Axes, at: tuple[int, int], mean: Estimate | None, *, framed: bool) -> None:
    """Draw a cell with its value; a profile that there is not, or is unknown, has a faint dot."""
    x, y = at
    if mean is None or not mean.seeds:
        axes.plot(x, y, ".", color=FAINT, markersize=3)
        return
    shade = SHADES(min(mean.value, 1.0))
    edge = {"edgecolor": INK, "linewidth": 1.0} if framed else {"linewidth": 0.0}
    axes.add_patch(Rectangle((x - 0.45, y - 0.42), 0.9, 0.84, facecolor=shade, **edge))
    color = PAPER if mean.value > 0.5 else INK
    axes.text(x, y, f"{mean.value:.2f}", ha="center", va="center", fontsize=7.5, color=color)


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


def relearning_figure(results: Results) -> Figure:
    """Return the relearning curves, one plot of losses and one of facts if any were measured.

    Each curve is the worst case of the attack over learning rates and numbers of examples: the
    interquartile mean over seeds with a 95% bootstrap band.
    """
    look = styles(results.methods)
    curves = {
        title: {method: mean_curve(results, method, curve) for method in results.methods}
        for title, curve in curves_of(results).items()
    }
    known = {title: means for title, means in curves.items() if any(means.values())} or curves
    figure, plots = _panels(list(known))
    for axes, (title, means_of) in zip(plots, known.items(), strict=True):
        for method, means in means_of.items():
            _plot_band(axes, means, method, look[method])
        if "loss" in title:
            _scale_losses(axes)
        axes.set_xlabel("steps of the attack")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    _add_legend(figure, plots)
    return figure


def curves_of(results: Results) -> dict[str, Relearning]:
    """Return measures during an attack that relearns, by the titles and units of their plots."""
    others = "" if results.of_documents else "other "  # documents have no halves of facts
    return {"forget loss, nats": LOSS_CURVE, f"{others}forget facts, share": FACTS_CURVE}


def recall_figure(results: Results) -> Figure:
    """Return robust unlearning, known facts and retain loss against label recall."""
    look = styles(results.methods)
    measures = known_panels(results) or PANELS
    figure, plots = _panels(list(measures))
    for axes, measure in zip(plots, measures.values(), strict=True):
        for method in results.methods:
            means, style = results.by_recall(method, measure), look[method]
            if method in REFERENCES:  # they do not depend on the labels of a run
                for mean in means.values():
                    axes.axhline(mean.value, color=style.color, ls="--", lw=1.1, label=method)
            else:
                _plot_points(axes, means, method, style)
        axes.set_xlabel("label recall")
    _add_legend(figure, plots)
    return figure


TAX_SIZE = (10.0, 2.7)
"""Width of the figure of the tax, and height of a row of its plots, in inches."""


def tax_figure(results: Results) -> Figure:
    """Return each measure of the tax against the hidden units of a module.

    There is a row of plots for each number of topics. A dashed line is a method without modules of
    that size, such as a reference.
    """
    tax, look = Tax(results), styles(results.methods)
    rows, columns = len(tax.topic_counts), len(tax.measures)
    width, height = TAX_SIZE
    figure = sheet(rows * height + 0.5, width)
    grid = figure.subplots(rows, columns, squeeze=False, sharey="col")
    for plots, count in zip(grid, tax.topic_counts, strict=True):
        for axes, (title, measure) in zip(plots, tax.measures.items(), strict=True):
            name, unit = title.split(", ")
            axes.set_title(name, fontsize=8.5)
            axes.set_ylabel(UNITS[unit], fontsize=8)
            for method in tax.methods:
                means = tax.by_expansion(method, measure, count)
                _plot_tax(axes, means, method, look[method], flat=not tax.is_expanded(method))
            axes.set_xscale("log")
            axes.set_xticks(tax.expansions, [f"{units:,}" for units in tax.expansions])
            axes.set_xticks([], minor=True)
            axes.set_xlabel("hidden units of a module", fontsize=8)
        if rows > 1:
            plots[0].set_ylabel(f"{topics_in_words(count)}\n{plots[0].get_ylabel()}", fontsize=8)
    _add_legend(figure, list(grid.flat))
    return figure


def _plot_tax(
    axes: Axes, means: Mapping[int, Estimate], method: str, style: Style, *, flat: bool
) -> None:
    """Plot the means of a method by expansion, or one line if it does not depend on that."""
    if not flat:
        _plot_points(axes, means, method, style)
    # the dashes are drawn above a line that coincides with them
    for mean in list(means.values())[:1] if flat else ():
        axes.axhline(mean.value, color=style.color, ls="--", lw=1.1, label=method, zorder=3)


OUTCOMES: Mapping[Outcome, tuple[str, str]] = {
    "ahead": (COLORS[0], PAPER),
    "ahead at a price": (COLORS[4], INK),
    "mixed": (COLORS[3], INK),
    "even": (FAINT, INK),
    "unknown": ("#f4f6f7", INK),
    "behind, retains more": ("#f3c9ae", INK),
    "behind": (VERMILLION, PAPER),
}
"""Color of a cell of the map of labels, and of its numbers, by how routing compares."""


MAP_COLUMNS = 3
"""Number of plots side by side in the map of labels."""


def map_figure(comparisons: Sequence[Comparison]) -> Figure:
    """Return the map of labels: a plot for each routed method and method of filtering.

    A cell has the difference of the forget losses after removal and, below it, after the worst
    attack; its color says how routing compares with filtering there.

    Args:
        comparisons: those of a `lm.label_map.label_map`.
    """
    pairs = list(dict.fromkeys((each.routed, each.filtered) for each in comparisons))
    recalls = sorted({each.recall for each in comparisons})
    precisions = sorted({each.precision for each in comparisons}, reverse=True)
    rows = -(-len(pairs) // MAP_COLUMNS)
    figure = sheet(rows * (0.36 * len(precisions) + 0.75) + 0.5)
    plots = list(figure.subplots(rows, MAP_COLUMNS, squeeze=False, sharex=True, sharey=True).flat)
    for axes, (routed, filtered) in zip(plots, pairs, strict=False):
        axes.set_title(f"{routed} - {filtered}", fontsize=8)
        for each in comparisons:
            if (each.routed, each.filtered) == (routed, filtered):
                at = recalls.index(each.recall), precisions.index(each.precision)
                _draw_comparison(axes, at, each)
        axes.set(xlim=(-0.5, len(recalls) - 0.5), ylim=(len(precisions) - 0.5, -0.5))
        axes.set_xticks(range(len(recalls)), [f"{recall:g}" for recall in recalls])
        axes.set_yticks(range(len(precisions)), [f"{each:g}" for each in precisions])
        axes.tick_params(length=0, labelbottom=True)
        axes.grid(visible=False)
        for side in axes.spines.values():
            side.set_visible(False)
    for axes in plots[len(pairs) :]:
        axes.set_axis_off()
    figure.supxlabel("label recall", fontsize=9, color=MUTED)
    figure.supylabel("label precision", fontsize=9, color=MUTED)
    found = [outcome for outcome in OUTCOMES if outcome in {each.outcome for each in comparisons}]
    keys = [Rectangle((0, 0), 1, 1, facecolor=OUTCOMES[outcome][0]) for outcome in found]
    names = [f"routing: {outcome}" for outcome in found]
    figure.legend(keys, names, loc="outside upper left", ncols=3, fontsize=8, labelcolor=MUTED)
    return figure


def _draw_comparison(axes: Axes, at: tuple[int, int], comparison: Comparison) -> None:
    """Draw a cell of the map of labels."""
    (x, y), (shade, color) = at, OUTCOMES[comparison.outcome]
    axes.add_patch(Rectangle((x - 0.47, y - 0.45), 0.94, 0.9, facecolor=shade, linewidth=0.0))
    said = f"{comparison.removed.value:+.2f}\n{comparison.attacked.value:+.2f}"
    axes.text(x, y, said, ha="center", va="center", fontsize=7, color=color)


def _panels(titles: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """Return a figure and its plots, side by side, with a title and a unit for each."""
    figure = sheet(3.2)
    plots = list(figure.subplots(1, len(titles), squeeze=False).flat)
    for axes, title in zip(plots, titles, strict=True):
        measure, unit = title.split(", ")
        axes.set_title(measure)
        axes.set_ylabel(UNITS[unit])
    return figure, plots


def _scale_losses(axes: Axes) -> None:
    """Use a logarithmic axis where a method that suppresses knowledge raises the loss manyfold."""
    low, high = axes.dataLim.intervaly
    if not 0 < low * _MANYFOLD <= high:
        return
    axes.set_yscale("log", subs=(2, 3, 5))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.set_ylabel(f"{axes.get_ylabel()}, log scale")


def _add_legend(figure: Figure, plots: Sequence[Axes]) -> None:
    handles, labels = plots[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=4, fontsize=8, labelcolor=MUTED)


def _plot_band(axes: Axes, means: Mapping[int, Estimate], method: str, style: Style) -> None:
    if not means:
        return
    # The dashes of gold are drawn above a line that coincides with it.
    order = 3 if method == GOLD else 2
    steps, heights = list(means), [mean.value for mean in means.values()]
    axes.plot(steps, heights, style.line, color=style.color, label=method, lw=1.4, zorder=order)
    low, high = ([getattr(mean, end) for mean in means.values()] for end in ("low", "high"))
    axes.fill_between(steps, low, high, color=style.color, alpha=0.18, linewidth=0)


def _plot_points(axes: Axes, means: Mapping[Any, Estimate], method: str, style: Style) -> None:
    places, heights = list(means), [mean.value for mean in means.values()]
    color = style.color
    axes.plot(places, heights, style.line, color=color, marker=style.marker, label=method)
    low, high = ([getattr(mean, end) for mean in means.values()] for end in ("low", "high"))
    axes.vlines(places, low, high, color=color, linewidth=1.4)


STAGES = ("before", "after", "repaired")
"""The exams of a run: before and after the ablation, and after the repair."""
SPLITS = ("forget", "adjacent", "retain")


def write_page(result: Result, folder: Path) -> None:
    """Write the TensorBoard events of a run into its folder, replacing earlier ones."""
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
    # JSON has null for what is not finite, such as the loss after a relearning that diverged
    return [point for point in found if point[2] is not None and isfinite(point[2])]
