"""One look for all tables on a terminal."""

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text


def plain_table(title: str, names: str, numbers: Sequence[str]) -> Table:
    """Return an empty table.

    Args:
        title: line above the table.
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
        # on a narrow terminal numbers are folded, since cut ones would look like others
        table.add_column(heading, justify="right", overflow="fold")
    return table
