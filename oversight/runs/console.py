"""Plain output on a terminal: lines printed as they are, and one look for all tables."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text


def print_line(console: Console, line: str) -> None:
    """Print a line without highlighting, markup or wrapping, so that it can be copied."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def plain_table(title: str, names: str, numbers: Sequence[str]) -> Table:
    """Return an empty table.

    Args:
        title: is shown above it.
        names: heading of the first column, which holds the names of the rows.
        numbers: headings of the other columns, which are aligned to the right.
    """
    table = Table(
        title=Text(title, style="table.title"),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column(names, no_wrap=True)
    for heading in numbers:
        table.add_column(heading, justify="right")
    return table
