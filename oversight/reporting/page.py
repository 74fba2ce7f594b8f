"""The page: one HTML file that holds all it shows and asks no network for anything."""

from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from oversight.reporting.document import Document
from oversight.reporting.figures.drawing import Drawing
from oversight.reporting.section import Picture
from oversight.reporting.table import Table

HERE = Path(__file__).parent


def render(document: Document) -> str:
    """Return the page of a report; all text in it is escaped."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.tests["drawing"] = lambda block: isinstance(block, Drawing)
    environment.tests["table"] = lambda block: isinstance(block, Table)
    environment.tests["picture"] = lambda block: isinstance(block, Picture)
    environment.filters["svg"] = _svg
    template = environment.from_string((HERE / "page.html").read_text(encoding="utf-8"))
    css = (HERE / "page.css").read_text(encoding="utf-8")
    return template.render(document=document, css=Markup(css))


def _svg(drawing: Drawing, form: str) -> Markup:
    """Return a figure's element, which escapes its own text."""
    return Markup(drawing.inline(narrow=form == "narrow"))
