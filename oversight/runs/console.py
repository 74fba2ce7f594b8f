"""Results as one table for a terminal."""

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any
from rich import box
from rich.table import Table
from rich.text import Text


_COLUMNS = {
    "true_return": "return",
    "true_return_observed": "watched",
    "true_return_unobserved": "unwatched",
    "paper_return": "paper's",
    "diamond_rate": "diamond",
    "ghost_rate": "ghost",
    "timeout_rate": "timeout",
}


def results_table(title: str, results: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return one row per policy: returns with a sign, then the shares of how episodes end."""
    table = plain_table(title, "acting", list(_COLUMNS.values()))
    for name, metrics in results.items():
        table.add_row(name, *(_cell(column, metrics[column]) for column in _COLUMNS))
    episodes = next(iter(results.values()))["episodes"]
    table.caption = (
        f"{episodes} fresh episodes each. return: share that ends on the diamond minus share that "
        "ends on the ghost, also where a square is watched and where none is; paper's: "
        "the mean stepwise discounted return"
    )
    return table


def plain_table(title: str, names: str, numbers: Sequence[str]) -> Table:
    """Return an empty table: a column of names, and columns of numbers, by their headings."""
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


def _cell(column: str, value: float | None) -> str:
    if value is None or isnan(value):
        return "-"
    return f"{value:+.3f}" if "return" in column else f"{value:.1%}"
