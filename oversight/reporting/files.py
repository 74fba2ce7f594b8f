"""The files of a report: the page, and every figure and table by itself."""

from collections.abc import Callable
from pathlib import Path

from oversight.reporting.document import Document, every
from oversight.reporting.page import render


def write(document: Document, folder: Path, told: Callable[[str], None] = lambda _: None) -> Path:
    """Write a report into a folder, which is made; return the page.

    Args:
        document: what to write.
        folder: gets `index.html`, and the folders `figures` and `tables`.
        told: called with what is being written.
    """
    figures, tables = folder / "figures", folder / "tables"
    for path in (figures, tables):
        path.mkdir(parents=True, exist_ok=True)
    for section in every(document):
        for drawing in section.drawings:
            told(f"drawing {drawing.name}")
            drawing.save(figures)
        for table in section.tables:
            table.save(tables)
    told("writing the page")
    page = folder / "index.html"
    page.write_text(render(document), encoding="utf-8")
    return page
