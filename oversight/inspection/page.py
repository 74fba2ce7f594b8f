"""The files of an inspection: a page without external resources, the figures, and the numbers."""

from pathlib import Path

from rich.console import Console

from oversight.inspection.content import Inspection, Picture, Table, Tokens
from oversight.runs.folder import replace_file, require_writable, write_json
from oversight.runs.pages import templates

FOLDER, PAGE, DATA = "inspect", "index.html", "inspection.json"
"""The folder of an inspection within that of the run, its page, and its numbers."""


def render(inspection: Inspection) -> str:
    """Return the page as HTML; all text is escaped."""
    page = templates(Path(__file__).parent).get_template("page.html")
    return page.render(each=inspection, map=inspection.route_map.drawing())


def write(inspection: Inspection, run: Path) -> Path:
    """Write an inspection into the folder of its run, and return the page.

    Raises:
        ValueError: if the folder cannot be written.
    """
    folder = run / FOLDER
    require_writable(folder, "RUN")
    inspection.route_map.drawing().save(folder)
    for block in inspection.blocks:
        if isinstance(block, Picture):
            replace_file(folder / f"{block.name}.png", block.png)
    write_json(folder / DATA, inspection.data)
    page = folder / PAGE
    replace_file(page, render(inspection).encode())
    return page


def show(inspection: Inspection, console: Console) -> None:
    """Print the findings, the tables and the tokens of an inspection."""
    console.out(inspection.title, highlight=False)
    for sentence in inspection.findings:
        console.print(f"- {sentence}", highlight=False, markup=False)
    console.print()
    for section in inspection.sections:
        for block in section.blocks:
            if isinstance(block, Table):
                console.print(block.on_terminal())
            elif isinstance(block, Tokens):
                line = "  ".join(f"{token!r} {value:+.2f}" for token, value in block.tokens)
                console.print(f"{section.title}, {block.title}: {line}", markup=False)
