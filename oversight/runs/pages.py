"""Pages of HTML: templates of jinja2 with the style that all pages share, `page.css`."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup


def templates(folder: Path) -> Environment:
    """Return the templates of a folder, which may also include `page.css`.

    All text is escaped. The filter `svg` turns an `oversight.runs.figures.Drawing` into an element.

    Args:
        folder: holds the templates.
    """
    environment = Environment(
        loader=FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["svg"] = lambda drawing: Markup(drawing.inline())
    return environment
