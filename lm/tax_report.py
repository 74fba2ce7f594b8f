"""The cost of routing (the alignment tax) of language models, against the size of their modules.

A routed model is compared with `unrouted` of the same seed, which learns the same texts without a
routed structure. It may pay twice: as trained, with all its modules, it may know less than
`unrouted`, and what is left after the removal and the repair may retain less. No attack is needed
for this.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import product
from typing import NamedTuple

from rich.table import Table

from lm.methods import BASE, METHODS
from lm.report import facts_known, listed, nats, with_sign
from lm.results import RETAINED, Results, topics_in_words
from oversight.runs.console import Format, formatter, plain_table
from oversight.runs.statistics import (
    MIN_SEEDS,
    Estimate,
    difference_by_seed,
    is_significant,
    relative_change_by_seed,
)

FORGET_LOSS = "forget_loss.before"
"""The loss on texts to forget of the model as it was trained."""
TAXED: Mapping[str, str] = {
    "retain loss as trained, nats": "retain_loss.before",
    "retain loss after removal, nats": RETAINED,
    "retain facts after removal, share": "mcq_retain.repaired",
    "forget loss as trained, nats": FORGET_LOSS,
}
"""Measures of a sweep over the tax, by their titles and units."""
FORMATS: Mapping[str, Format] = {"nats": nats, "share": facts_known}
"""Formats of values, by units."""
relative = formatter("+.1%", ".1f", scale=100)


class Cell(NamedTuple):
    """What a number of the report is of."""

    method: str
    measure: str
    expansion: int
    topic_count: int | None


class Tax:
    """The results of a sweep over the tax, by expansion and number of topics.

    Attributes:
        methods: names of the methods that were run.
        expansions: numbers of hidden units, in ascending order.
        topic_counts: numbers of topics to forget, in ascending order.
        measures: those of `TAXED` that are known: documents may have no facts.
        over_seeds: how numbers summarize seeds.
    """

    def __init__(self, results: Results) -> None:
        self.methods = results.methods
        self.over_seeds = results.over_seeds if results.records else ""
        self.expansions: tuple[int, ...] = results.expansions
        self.topic_counts: tuple[int | None, ...] = results.topic_counts or (None,)
        self._parts = {
            (units, count): results.at(expansion=units, topic_count=count)
            for units, count in product(self.expansions, self.topic_counts)
        }
        self._expanded = {each["method"] for each in results.records if each.get("expansion")}
        self.measures = {
            title: measure
            for title, measure in TAXED.items()
            if any(part.values(each, measure) for part in self.parts for each in self.methods)
        }

    @property
    def parts(self) -> Iterable[Results]:
        """The results at each expansion and number of topics."""
        return self._parts.values()

    def is_expanded(self, method: str) -> bool:
        """Return whether a method was run with each of the expansions."""
        return method in self._expanded

    def values(self, cell: Cell) -> dict[int, float]:
        """Return the finite values of a measure by seed."""
        return self._parts[cell.expansion, cell.topic_count].values(cell.method, cell.measure)

    def mean(self, cell: Cell) -> Estimate:
        """Return the interquartile mean of a measure over seeds."""
        return self._parts[cell.expansion, cell.topic_count].mean(cell.method, cell.measure)

    def change(self, cell: Cell) -> Estimate:
        """Return the change of a measure relative to `unrouted` of the same seed and topics."""
        return relative_change_by_seed(self.values(cell), self.values(cell._replace(method=BASE)))

    def by_expansion(self, method: str, measure: str, count: int | None) -> dict[int, Estimate]:
        """Return the known means of a measure by expansion, at a number of topics."""
        cells = (Cell(method, measure, units, count) for units in self.expansions)
        means = {cell.expansion: self.mean(cell) for cell in cells}
        return {units: mean for units, mean in means.items() if mean.seeds}


def tax_tables(title: str, results: Results) -> list[Table]:
    """Return a table of all measures, and one of their changes relative to `unrouted`.

    Each has a row for each measure, number of topics and method, and a column for each expansion.
    There is none if no method with an expansion is finished.
    """
    tax = Tax(results)
    if not tax.expansions:
        return []
    shown = _table(title, tax, lambda cell, unit: FORMATS[unit](tax.mean(cell)))
    shown.caption = (
        "By hidden units of a module in each layer. as trained: with all modules; after removal: "
        f"without them, and repaired; losses in nats per token on held-out texts. {tax.over_seeds}"
    )
    others = [method for method in tax.methods if method != BASE]
    if BASE not in tax.methods or not others:
        return [shown]
    tax.methods = tuple(others)
    changes = _table(f"{title}: change", tax, lambda cell, _: relative(tax.change(cell)))
    changes.caption = f"Relative to {BASE} of the same seed and topics. {tax.over_seeds}"
    return [shown, changes]


def _table(title: str, tax: Tax, show: Callable[[Cell, str], str]) -> Table:
    """Return a table whose cells are shown by a function of the cell and of the measure's unit."""
    several = len(tax.topic_counts) > 1
    headings = [*(["topics"] if several else []), *map(str, tax.expansions)]
    table = plain_table(title, "method", headings)
    for heading, measure in tax.measures.items():
        name, unit = heading.split(", ")
        table.add_row(name)
        for count, method in product(tax.topic_counts, tax.methods):
            cells = (Cell(method, measure, units, count) for units in tax.expansions)
            numbers = [show(cell, unit) for cell in cells]
            table.add_row(f"  {method}", *([str(count)] if several else []), *numbers)
        table.add_section()
    return table


def tax_verdict(results: Results) -> str:
    """Return what routing costs, and whether this depends on the size of modules significantly.

    The smallest and the largest expansion are compared by the paired differences of their seeds.
    """
    tax = Tax(results)
    routed = [name for name in tax.methods if METHODS[name].unlearns and tax.is_expanded(name)]
    if not routed or BASE not in tax.methods:
        return f"There is no verdict on the tax: it needs {BASE} and a method with an expansion."
    named = {measure: heading.split(", ")[0] for heading, measure in tax.measures.items()}
    sentences = []
    for count in tax.topic_counts:
        at = f", {topics_in_words(count)}" if len(tax.topic_counts) > 1 else ""
        for measure in (RETAINED, FORGET_LOSS):
            clauses = [_clause(tax, name, measure, count) for name in routed]
            if said := "; ".join(filter(None, clauses)):
                sentences.append(f"{named[measure]}{at}: {said}.")
    seeds = results.frame["seed"].nunique()
    if seeds < MIN_SEEDS:
        few = "1 seed" if seeds == 1 else f"{seeds} seeds"
        sentences.append(f"With {few}, no difference is significant.")
    return f"The tax relative to {BASE} of the same seed. " + " ".join(
        sentence[0].upper() + sentence[1:] for sentence in sentences
    )


def _clause(tax: Tax, method: str, measure: str, count: int | None) -> str:
    """Return the tax of a method with modules of the smallest and of the largest size."""
    sizes = tuple(dict.fromkeys((tax.expansions[0], tax.expansions[-1])))
    cells = [Cell(method, measure, units, count) for units in sizes]
    known = {cell: change for cell in cells if (change := tax.change(cell)).seeds}
    if not known:
        return ""
    taxes = [f"{with_sign(each, '.1%')} with {cell.expansion}" for cell, each in known.items()]
    said = f"{method} {listed(taxes)} units"
    if len(known) < 2:
        return said
    small, large = (tax.values(cell) for cell in cells)
    apart = difference_by_seed(large, small)
    if apart.seeds < MIN_SEEDS:
        return said
    if is_significant(apart):
        return f"{said}, a significant difference of {with_sign(apart, '.3f')} nats"
    return f"{said}, no significant difference"
