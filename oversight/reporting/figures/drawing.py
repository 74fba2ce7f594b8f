"""A figure with its words, and its forms: PNG, SVG, and SVG inside a page."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from xml.sax.saxutils import quoteattr

from matplotlib.figure import Figure

from oversight.reporting.figures.theme import NAMED, themed

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
