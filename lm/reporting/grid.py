"""The grid of attacks as one table: what the worst setting of each attack gets, by method."""

from collections.abc import Sequence
from math import isnan

from rich.table import Table

from lm.attack.interval import Estimate
from lm.attack.rows import CONTROL, FACTS, LOSS
from lm.attack.suite import SUITES
from lm.reporting.estimate import estimate
from lm.reporting.runs import Result, Runs
from lm.reporting.table import nats
from lm.reporting.withstood import worst_by_seed
from oversight.table import plain_table

CONTROLS = {"probe": "labels shuffled", "gcg": "random prefixes"}
"""What the control of an attack is, by attack."""


def grid_table(title: str, results: Sequence[Result]) -> Table:
    """Return a row for each attack and a column for each method.

    Facts to forget that are known come first, the loss on stories to forget after.

    Args:
        title: of the table.
        results: of one share of labels, at most one for each method and seed.
    """
    runs = Runs(results)
    table = plain_table(title, "attack", ["", *runs.methods])
    _row(table, "none", "facts", [share(runs.mean(m, "mcq_forget.repaired")) for m in runs.methods])
    for attack in SUITES["full"]:
        _row(table, attack, "facts", _cells(results, runs, attack, FACTS))
        if attack in CONTROLS:
            _row(table, f"- {CONTROLS[attack]}", "facts", _cells(results, runs, attack, CONTROL))
    table.add_section()
    _row(table, "none", "loss", [nats(runs.mean(m, "forget_loss.repaired")) for m in runs.methods])
    for attack in SUITES["full"]:
        _row(table, attack, "loss", _cells(results, runs, attack, LOSS))
    table.caption = (
        "The worst setting of each attack. facts: share of the facts to forget that is known, of "
        "the half that was not told in half and gcg, 25% by guessing; loss: on stories to forget, "
        "in nats per token. Means over seeds, and half of their 95% intervals"
    )
    return table


def share(mean: Estimate) -> str:
    """Return a share, with half the width of its interval where one is known.

    >>> share(Estimate(0.5, 0.4, 0.6, 5))
    '50% +-10'
    """
    if isnan(mean.value):
        return "-"
    within = "" if isnan(mean.low) else f" +-{50 * (mean.high - mean.low):.0f}"
    return f"{mean.value:.0%}{within}"


def _cells(results: Sequence[Result], runs: Runs, attack: str, figure: str) -> list[str]:
    means = (
        estimate(list(worst_by_seed(results, method, attack, figure).values()))
        for method in runs.methods
    )
    return [nats(mean) if figure == LOSS else share(mean) for mean in means]


def _row(table: Table, attack: str, figure: str, cells: Sequence[str]) -> None:
    if any(cell != "-" for cell in cells):
        table.add_row(attack, figure, *cells)
