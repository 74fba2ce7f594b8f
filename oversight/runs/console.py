"""One look for all tables on a terminal, and for the estimates in them."""

from collections.abc import Callable, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from oversight.runs.statistics import Estimate


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


Format = Callable[[Estimate], str]
"""A format of estimates, for the cells of a table."""


def formatter(form: str, spread: str = "", scale: float = 1.0) -> Format:
    """Return a format of estimates: the value, and half the width of its interval if known.

    >>> formatter(".3f", ".3f")(Estimate(1.0, 0.9, 1.1, 5))
    '1.000 +-0.100'
    >>> formatter(".0%")(Estimate(0.5, 0.4, 0.6, 5))
    '50%'
    """

    def cell(mean: Estimate) -> str:
        if not mean.seeds:
            return "-"
        half = scale * (mean.high - mean.low) / 2
        within = f" +-{half:{spread}}" if spread and mean.known else ""
        return f"{mean.value:{form}}{within}"

    return cell
