"""The look of all figures, and a figure with its caption as PNG, SVG and SVG inside a page."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import isotonic_regression

INK, MUTED, FAINT, PAPER = "#1d2329", "#5c6670", "#d5dade", "#fefefe"

# The palette of Okabe and Ito, which color-blind readers can distinguish; vermillion is reserved
# for the baseline.
COLORS = ("#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
VERMILLION = "#d55e00"

NAMED = {
    **{INK: "ink", MUTED: "muted", FAINT: "faint", PAPER: "paper", VERMILLION: "plain"},
    **{color: f"method-{number}" for number, color in enumerate(COLORS)},
}
"""CSS variables of the colors, so that a page can replace them in a dark theme."""

WIDTH = 7.4  # inches


@dataclass(frozen=True, slots=True)
class Style:
    """How the marks of one line look.

    Attributes:
        color: color of line and marker.
        marker: matplotlib's letter for it.
        line: matplotlib's line style.
        strong: whether the line stands out; the others are gray.
    """

    color: str
    marker: str
    line: str = "-"
    strong: bool = True


Styles = Mapping[str, Style]
"""The style of each line, by its label."""


@contextmanager
def themed() -> Iterator[None]:
    """Use the style of all figures inside this context, and write the same bytes every time."""
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


def sheet(height: float, width: float = WIDTH) -> Figure:
    """Return an empty figure of a size in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def label_ends(axes: Axes, ends: Mapping[str, float], look: Styles, size: float) -> None:
    """Write each line's label beside its end, moved apart where labels would touch.

    Args:
        axes: the plot, with its final limits.
        ends: the height at which each line ends.
        look: gives the colors.
        size: font size in points.
    """
    low, high = axes.get_ylim()
    figure = axes.get_figure(root=True)
    assert figure is not None
    room = figure.get_figheight() * 72 * 0.8  # points, about
    places = spread(ends, gap=size * 1.25 / room * (high - low), low=low, high=high)
    for label, place in places.items():
        axes.annotate(
            label,
            xy=(1.0, ends[label]),
            xytext=(1.06, place),
            xycoords=("axes fraction", "data"),
            textcoords=("axes fraction", "data"),
            va="center",
            fontsize=size,
            color=INK,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": look[label].color,
                "linewidth": 1.2,
                "relpos": (0, 0.5),
                "shrinkA": 1,
                "shrinkB": 0,
            },
        )


def spread(places: Mapping[str, float], gap: float, low: float, high: float) -> dict[str, float]:
    """Return places moved as little as possible so that neighbors keep a gap and all stay inside.

    >>> {name: round(place, 1) for name, place in spread({"a": 5, "b": 5}, 2, 0, 10).items()}
    {'a': 4.0, 'b': 6.0}
    """
    order = sorted(places, key=places.__getitem__)
    steps = gap * np.arange(len(order))
    moved = isotonic_regression([places[name] for name in order] - steps).x
    inside = np.clip(moved, low, max(low, high - gap * max(len(order) - 1, 0)))
    return dict(zip(order, (inside + steps).tolist(), strict=True))


def save_figure(figure: Figure, folder: Path, name: str) -> Path:
    """Write a figure as SVG and PNG into a folder, and return the path of the PNG file."""
    path = folder / f"{name}.png"
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    figure.savefig(path, dpi=160)
    return path


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """A figure with its title and caption.

    Attributes:
        name: name of its files, without suffix.
        title: what it shows.
        caption: how to read it.
        alt: its content in words, for readers who cannot see it.
        draw: draws it.
        wide: whether it takes the whole width of a page.
    """

    name: str
    title: str
    caption: str
    alt: str
    draw: Callable[[], Figure]
    wide: bool = False

    def save(self, folder: Path) -> None:
        """Write the figure as SVG and PNG."""
        with themed():
            save_figure(self.draw(), folder, self.name)

    def inline(self) -> str:
        """Return SVG for a page, with the page's color variables and unique identifiers."""
        data = BytesIO()
        with themed():
            empty = dict.fromkeys(("Date", "Creator", "Format", "Type"))
            self.draw().savefig(data, format="svg", metadata=empty, transparent=True)
        return for_page(data.getvalue().decode(), self.name, self.alt, wide=self.wide)


def for_page(svg: str, prefix: str, alt: str, *, wide: bool = False) -> str:
    """Return matplotlib's SVG as an element of a page.

    Args:
        svg: the file.
        prefix: is put before every identifier, which must be unique on the page.
        alt: is read to readers who cannot see the figure.
        wide: whether it takes the whole width of the page.
    """
    element = svg[svg.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", element, flags=re.DOTALL)
    view = re.search(r'viewBox="[^"]*"', element)
    assert view is not None  # matplotlib always writes it
    label = f'role="img" aria-label={quoteattr(alt)}'
    label += ' style="max-width: none"' if wide else ""
    element = re.sub(r"<svg[^>]*>", lambda _: f"<svg {view.group()} {label}>", element, count=1)
    element = re.sub(r'\bid="', f'id="{prefix}-', element)
    element = re.sub(r"url\(#", f"url(#{prefix}-", element)
    element = re.sub(r'xlink:href="#', f'href="#{prefix}-', element)
    for color, name in NAMED.items():
        element = element.replace(color, f"var(--{name})")
    return element
