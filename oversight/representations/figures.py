"""The figures of a study: reconstructions, the price of routing, and the quality of labels."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oversight.representations.config import LabelConfig, RunConfig, StudyConfig
from oversight.representations.data import Images
from oversight.representations.evaluation import FULL, MEASURES
from oversight.representations.labels import class_counts
from oversight.representations.pictures import Reconstructions, reconstruct
from oversight.representations.report import WORDS, Results
from oversight.runs.cli import override
from oversight.runs.figures import COLORS, MUTED, VERMILLION, Style, save_figure, sheet, themed

Points = Mapping[float, str]
"""The settings of a line by their place on the horizontal axis."""

LINES = {
    FULL: Style(COLORS[0], "o"),
    "right": Style(COLORS[1], "D"),
    "wrong": Style(VERMILLION, "s"),
}
"""The look of each figure of a summary."""
NAMES = {FULL: "whole code", "right": "right part", "wrong": "wrong part"}


def draw_all(
    study: StudyConfig,
    results: Results,
    runs: Mapping[str, tuple[Path, RunConfig]],
    images: Images,
    folder: Path,
) -> list[Path]:
    """Write the figures of a study as PNG and SVG; return the PNG files.

    Args:
        study: settings of the study.
        results: results of finished runs.
        runs: folder and settings of the runs whose reconstructions are shown, by name.
        images: the data.
        folder: folder of the figures, which is made.
    """
    if not results.records:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    with themed():
        if study.sweep == "tax":
            found.append(save_figure(draw_tax(study, results), folder, "tax"))
        elif study.sweep == "labels":
            found.append(save_figure(draw_labels(study, results), folder, "labels"))
        elif study.run.task == "reconstruct":
            for name, (path, run) in runs.items():
                shown = reconstruct(path, images, run)
                found.append(
                    save_figure(draw_reconstructions(shown), folder, f"reconstructions-{name}")
                )
    return found


def draw_reconstructions(shown: Reconstructions) -> Figure:
    """Return a row for each image, and a column for the input and for each decoder."""
    height, width = shown.images.shape[-2:]
    is_signal = height == 1
    num_rows, num_columns = len(shown.classes), len(shown.columns)
    size = 0.62 if num_columns > 6 else 0.8
    across = size * (2.2 if is_signal else width / height)
    figure = sheet(size * num_rows + 0.6, max(across * num_columns + 0.5, 3.2))
    grid = figure.subplots(num_rows, num_columns, squeeze=False)
    low, high = float(shown.images[:, 0].min()), float(shown.images[:, 0].max())
    for row, digit in enumerate(shown.classes):
        for column, name in enumerate(shown.columns):
            axes = grid[row, column]
            axes.set(xticks=[], yticks=[])
            axes.grid(visible=False)
            picture = shown.images[row, column].numpy()
            if is_signal:
                axes.plot(picture[0], color=COLORS[0], linewidth=1)
                axes.set_ylim(low, high)
            else:
                axes.imshow(picture, cmap="gray", vmin=low, vmax=high)
            if row == 0:
                axes.set_title(name.replace(" ", "\n"), fontsize=7.5, loc="center")
            if column == 0:
                axes.set_ylabel(str(digit), rotation=0, labelpad=8, va="center")
    return figure


def draw_tax(study: StudyConfig, results: Results) -> Figure:
    """Return the errors of decoder and certificates by the share routed and by the size of parts.

    Dashed lines are those of `unrouted`.
    """
    shares = {share: f"routed-share{share:g}" for share in study.shares} | {1.0: "routed"}
    own = study.run.code_size / study.run.parts
    figure = sheet(2.9)
    left, right = figure.subplots(1, 2, sharey=True)
    _draw_lines(left, results, shares, "-")
    for method, line in (("routed", "-"), ("unrouted", "--")):
        sizes: dict[float, str] = {size: f"{method}-part{size}" for size in study.part_sizes}
        sizes[own] = method
        _draw_lines(right, results, sizes, line)
    word = WORDS[MEASURES[study.run.task][0]]
    left.set(title="Share of images routed", xlabel="share of images routed", ylabel=word)
    right.set(title="Size of the parts", xlabel="dimensions of a part", xscale="log")
    right.set_xticks([own, *study.part_sizes], [f"{size:g}" for size in (own, *study.part_sizes)])
    left.set_ylim(bottom=0)
    left.legend(fontsize=8)
    right.annotate(
        "dashed: unrouted",
        (0.98, 0.98),
        xycoords="axes fraction",
        ha="right",
        va="top",
        fontsize=8,
        color=MUTED,
    )
    return figure


def _draw_lines(axes: Axes, results: Results, points: Points, line: str) -> None:
    """Draw the errors of decoder and certificates, with intervals."""
    for name, style in LINES.items():
        label = NAMES[name] if line == "-" else None
        look = Style(style.color, style.marker, line)
        _draw_line(axes, results, points, (look, label), ("summary", name))


def _draw_line(
    axes: Axes,
    results: Results,
    points: Points,
    look: tuple[Style, str | None],
    path: Sequence[str],
) -> None:
    means = {x: results.mean(points[x], *path) for x in sorted(points)}
    known = {x: mean for x, mean in means.items() if mean.seeds}
    style, label = look
    heights = [mean.value for mean in known.values()]
    axes.plot(list(known), heights, style.line, color=style.color, marker=style.marker, label=label)
    for x, mean in known.items():
        if mean.known:
            axes.vlines(x, mean.low, mean.high, color=style.color, linewidth=1.2)


def draw_labels(study: StudyConfig, results: Results) -> Figure:
    """Return the ratio of wrong to right certificates by the recall and precision of labels.

    Errors by whole classes stand at the share that is left after rounding to classes.
    """
    figure = sheet(2.9)
    both = figure.subplots(1, 2, sharey=True)
    panels = {"recall": study.recalls, "precision": study.precisions}
    looks = {
        "": (Style(COLORS[0], "o"), "image by image"),
        "-classes": (Style(COLORS[2], "D"), "whole classes"),
    }
    for axes, (axis, shares) in zip(both, panels.items(), strict=True):
        for suffix, look in looks.items():
            place: Callable[[float], float] = (
                _rounded(study.run, axis) if suffix else lambda share: share
            )
            points = {place(each): f"routed-{axis}{each:g}{suffix}" for each in shares}
            known = {x: name for x, name in points.items() if name in results.settings}
            _draw_line(axes, results, {**known, 1.0: "routed"}, look, ("summary", "ratio", "least"))
        axes.axhline(1, color=MUTED, linewidth=0.8)
        axes.set(title=f"Label {axis}", xlabel=f"label {axis}")
    word = WORDS[MEASURES[study.run.task][0]]
    both[0].set_ylabel(f"{word} of the wrong part / right part")
    both[0].legend(fontsize=8)
    return figure


def _rounded(run: RunConfig, axis: str) -> Callable[[float], float]:
    """Return the share of classes that a share of labels amounts to."""
    size = len(run.groups[0])

    def place(share: float) -> float:
        labels = override(LabelConfig(label_errors="classes"), {f"label_{axis}": share})
        labeled, wrong = class_counts(labels, size)
        return labeled / size if axis == "recall" else 1 - wrong / max(labeled, 1)

    return place
