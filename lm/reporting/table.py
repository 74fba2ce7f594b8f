"""The results of unlearning as one table for a terminal."""

from collections.abc import Callable
from math import isnan

from rich.table import Table

from lm.attack.interval import Estimate
from lm.reporting.runs import Runs
from oversight.table import plain_table


def nats(mean: Estimate) -> str:
    """Return a loss, with half the width of its interval where one is known.

    >>> nats(Estimate(1.0, 0.9, 1.1, 5))
    '1.000 +-0.100'
    """
    if isnan(mean.value):
        return "-"
    if isnan(mean.low):
        return f"{mean.value:.3f}"
    return f"{mean.value:.3f} +-{(mean.high - mean.low) / 2:.3f}"


def plain(mean: Estimate) -> str:
    """Return a loss without its interval."""
    return "-" if isnan(mean.value) else f"{mean.value:.3f}"


def percent(mean: Estimate) -> str:
    """Return a share."""
    return "-" if isnan(mean.value) else f"{mean.value:.0%}"


def count(mean: Estimate) -> str:
    """Return a number of steps."""
    return "-" if isnan(mean.value) else f"{mean.value:.0f}"


Form = Callable[[Estimate], str]

COLUMNS: dict[str, tuple[str, Form]] = {
    "forget\nbefore": ("forget_loss.before", plain),
    "forget\nafter": ("forget_loss.repaired", nats),
    "after\nattack": ("relearned_forget_loss", nats),
    "steps to\nrelearn": ("steps_to_relearn", count),
    "retain\nafter": ("retain_loss.repaired", nats),
}
"""Headings, measures and forms of what is shown of each method."""

FACTS: dict[str, tuple[str, Form]] = {
    "facts\nforget": ("mcq_forget.repaired", percent),
    "facts\nretain": ("mcq_retain.repaired", percent),
}
"""The same, where facts could be asked for."""


def unlearning_table(title: str, runs: Runs) -> Table:
    """Return a row for each method: interquartile means over seeds, and half of their intervals."""
    measures = [measure for measure, _ in FACTS.values()]
    asked = any(runs.values(method, measure) for method in runs.methods for measure in measures)
    columns = COLUMNS | (FACTS if asked else {})
    table = plain_table(title, "method", list(columns))
    for method in runs.methods:
        cells = (form(runs.mean(method, measure)) for measure, form in columns.values())
        table.add_row(method, *cells)
    table.caption = (
        "Losses in nats per token on texts that were not trained on. before: as trained; after: "
        "ablated and repaired; after attack: the lowest that any attack reaches; steps: until it "
        "is back where unrouted was"
    ) + (". facts: multiple choice, 25% by guessing" if asked else "")
    return table
