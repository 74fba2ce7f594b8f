"""The figure of learning curves."""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from oversight.reporting.curves import Band
from oversight.reporting.figures.drawing import Drawing
from oversight.reporting.figures.theme import MUTED, Styles, sheet

Bands = Mapping[tuple[str, float], Band]
"""By method and level."""


def learning_curves(bands: Bands, look: Styles, levels: Sequence[float], prefix: str) -> Drawing:
    """Return one plot per level: true return where nobody watches, as training goes on."""
    shown = [level for level in levels if any(at == level for _, at in bands)]

    def draw(narrow: bool) -> Figure:
        columns = min(2 if narrow else 3, len(shown))
        rows = ceil(len(shown) / columns)
        figure = sheet(narrow=narrow, height=(1.1 if narrow else 0.7) + 1.75 * rows)
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, level in zip(grid, shown, strict=False):
            axes.set_title(f"p = {level:g}", fontsize=8.5)
            _curves(axes, bands, level, look)
        for axes in grid[len(shown) :]:
            axes.set_visible(False)
        for axes in grid[max(0, len(shown) - columns) : len(shown)]:
            axes.tick_params(labelbottom=True)
        named = {label: handle for axes in grid for handle, label in _legend(axes)}
        figure.legend(
            list(named.values()),
            list(named),
            loc="outside upper left",
            ncols=3 if narrow else 7,
            fontsize=8,
            handlelength=1.4,
            columnspacing=1.2,
        )
        figure.supxlabel("environment steps", fontsize=9, color=MUTED)
        return figure

    return Drawing(
        name=f"{prefix}learning-curves",
        title="Learning curves where nobody watches",
        caption="Mean over seeds of the last checkpoint's true return during training, which the "
        "learner never sees, with 95% bootstrap bands. At p = 1 nobody is ever unwatched, so all "
        "episodes count there. Grey: the methods that the first figure does not name.",
        alt="For each oversight probability, true return against environment steps, one line per "
        "method, with bands over seeds.",
        draw=draw,
    )


def _curves(axes: Axes, bands: Bands, level: float, look: Styles) -> None:
    for method, style in look.items():
        band = bands.get((method, level))
        if band is None:
            continue
        if not style.strong:
            axes.plot(band.steps, band.mean, color=MUTED, linewidth=0.6, alpha=0.5)
            continue
        line = {"color": style.color, "linewidth": 1.3, "label": method}
        axes.plot(band.steps, band.mean, style.line, **line)  # type: ignore[arg-type]
        if band.runs > 1:
            axes.fill_between(
                band.steps, band.low, band.high, color=style.color, alpha=0.18, linewidth=0
            )
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda steps, _: counted(steps)))
    axes.tick_params(labelsize=7.5)


def _legend(axes: Axes) -> list[tuple[Any, str]]:
    return list(zip(*axes.get_legend_handles_labels(), strict=True))


def counted(steps: float) -> str:
    """Return a number of steps in few letters.

    >>> counted(1_500_000), counted(250_000), counted(0)
    ('1.5M', '250k', '0')
    """
    if steps >= 1e6:
        return f"{steps / 1e6:g}M"
    return f"{steps / 1e3:g}k" if steps >= 1e3 else f"{steps:g}"
