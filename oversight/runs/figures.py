"""How figures look: type, inks, and a color, a marker and a line for each method.

A figure with its words, and its forms: PNG, SVG, and SVG inside a page.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import isotonic_regression
from oversight.rl.report.comparison import PLAIN, Panel
import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from xml.sax.saxutils import quoteattr


INK, MUTED, FAINT, PAPER = "#1d2329", "#5c6670", "#d5dade", "#fefefe"

# Okabe and Ito's palette, which the color-blind tell apart; vermillion is kept for plain PPO.
COLORS = ("#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
VERMILLION = "#d55e00"

NAMED = {
    **{INK: "ink", MUTED: "muted", FAINT: "faint", PAPER: "paper", VERMILLION: "plain"},
    **{color: f"method-{number}" for number, color in enumerate(COLORS)},
}
"""What a page calls the colors, so that it can choose others for the dark."""

WIDE, NARROW = 7.4, 3.7  # inches
_MARKERS = "oDvP*"


@dataclass(frozen=True, slots=True)
class Style:
    """How the marks of a method look.

    Attributes:
        color: of line and marker.
        marker: matplotlib's letter of it.
        line: matplotlib's line style.
        strong: whether the method stands out; the others are grey.
    """

    color: str
    marker: str
    line: str = "-"
    strong: bool = True


Styles = Mapping[str, Style]


def styles(panel: Panel, routed: Sequence[str]) -> Styles:
    """Return how each method looks: the routed ones, plain PPO, and the best others stand out."""
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


@contextmanager
def themed() -> Iterator[None]:
    """Draw in the report's style inside this context, and write the same bytes every time."""
    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "report",
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "axes.titlesize": 9.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelcolor": MUTED,
        "axes.edgecolor": FAINT,
        "axes.facecolor": "none",
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": FAINT,
        "grid.linewidth": 0.5,
        "text.color": INK,
        "xtick.color": FAINT,
        "ytick.color": FAINT,
        "xtick.labelcolor": MUTED,
        "ytick.labelcolor": MUTED,
        "xtick.minor.size": 0,
        "legend.frameon": False,
        "lines.linewidth": 1.6,
        "lines.markersize": 5,
        "figure.facecolor": PAPER,
    }
    with mpl.rc_context(settings):
        yield


def sheet(*, narrow: bool, height: float) -> Figure:
    """Return an empty figure of the page's width, `height` inches high."""
    return Figure(figsize=(NARROW if narrow else WIDE, height), layout="constrained")


def level_axis(axes: Axes, levels: Sequence[float]) -> None:
    """Make the horizontal axis one of oversight levels."""
    axes.set_xscale("log")
    axes.set_xticks(levels, [f"{level:g}" for level in levels])
    axes.minorticks_off()
    axes.grid(visible=False, axis="x")


def label_ends(axes: Axes, ends: Mapping[str, float], look: Styles, size: float) -> None:
    """Write each method's name beside the end of its line, pushed apart where they would touch.

    Args:
        axes: the plot, its limits settled.
        ends: the height at which each line ends.
        look: for the colors.
        size: of the type, in points.
    """
    low, high = axes.get_ylim()
    figure = axes.get_figure(root=True)
    assert figure is not None
    room = figure.get_figheight() * 72 * 0.8  # points, about
    places = apart(ends, gap=size * 1.25 / room * (high - low), low=low, high=high)
    for method, place in places.items():
        axes.annotate(
            method,
            xy=(1.0, ends[method]),
            xytext=(1.06, place),
            xycoords=("axes fraction", "data"),
            textcoords=("axes fraction", "data"),
            va="center",
            fontsize=size,
            color=INK,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": look[method].color,
                "linewidth": 1.2,
                "relpos": (0, 0.5),
                "shrinkA": 1,
                "shrinkB": 0,
            },
        )


def apart(places: Mapping[str, float], gap: float, low: float, high: float) -> dict[str, float]:
    """Return places moved as little as can be so that neighbors are a gap apart, and inside.

    >>> {name: round(place, 1) for name, place in apart({"a": 5, "b": 5}, 2, 0, 10).items()}
    {'a': 4.0, 'b': 6.0}
    """
    order = sorted(places, key=places.__getitem__)
    steps = gap * np.arange(len(order))
    moved = isotonic_regression([places[name] for name in order] - steps).x
    inside = np.clip(moved, low, max(low, high - gap * max(len(order) - 1, 0)))
    return dict(zip(order, (inside + steps).tolist(), strict=True))


Draw = Callable[[bool], Figure]
"""Draws the figure, in its narrow form if told so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """A figure and what is said about it.

    Attributes:
        name: of its files.
        title: what it shows.
        caption: how to read it.
        alt: what it says, for who does not see it.
        draw: makes it, in its narrow form if told so.
    """

    name: str
    title: str
    caption: str
    alt: str
    draw: Draw

    def save(self, folder: Path) -> None:
        """Write the wide form as SVG and PNG."""
        with themed():
            figure = self.draw(False)
            figure.savefig(folder / f"{self.name}.svg", metadata={"Date": None})
            figure.savefig(folder / f"{self.name}.png", dpi=160)

    def inline(self, *, narrow: bool) -> str:
        """Return SVG for a page: colors by the page's names, and identifiers of its own."""
        data = BytesIO()
        with themed():
            empty = dict.fromkeys(("Date", "Creator", "Format", "Type"))
            self.draw(narrow).savefig(data, format="svg", metadata=empty, transparent=True)
        prefix = f"{self.name}-{'narrow' if narrow else 'wide'}"
        return for_page(data.getvalue().decode(), prefix, self.alt)


def for_page(svg: str, prefix: str, alt: str) -> str:
    """Return matplotlib's SVG as an element of a page.

    Args:
        svg: the file.
        prefix: goes before every identifier, which must be unique on the page.
        alt: read to who does not see the figure.
    """
    element = svg[svg.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", element, flags=re.DOTALL)
    view = re.search(r'viewBox="[^"]*"', element)
    assert view is not None  # matplotlib always writes it
    label = f'role="img" aria-label={quoteattr(alt)}'
    element = re.sub(r"<svg[^>]*>", lambda _: f"<svg {view.group()} {label}>", element, count=1)
    element = re.sub(r'\bid="', f'id="{prefix}-', element)
    element = re.sub(r"url\(#", f"url(#{prefix}-", element)
    element = re.sub(r'xlink:href="#', f'href="#{prefix}-', element)
    for color, name in NAMED.items():
        element = element.replace(color, f"var(--{name})")
    return element
