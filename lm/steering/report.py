"""The report of a study: figures by method over seeds, tables, and the comparison in a sentence.

A method is a vector on a kind of model, as `scalar (routed)`. Methods are compared at equal cost:
the highest rate of the concept before the loss has risen by a budget, over the rate of the same
model when it is not steered.
"""

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

from rich.table import Table

from lm.report import formatter
from lm.steering.config import RunConfig, SteeringConfig
from lm.steering.training import KINDS
from lm.steering.vectors import METHODS
from oversight.runs.console import plain_table
from oversight.runs.statistics import (
    MIN_SEEDS,
    Estimate,
    difference_by_seed,
    estimate,
    is_significant,
    relative_change_by_seed,
)

Result = Mapping[str, Any]
"""The result of one run."""

SCALAR = "scalar (routed)"
"""The method that the others are compared with."""
CONTROLS = ("embedding (unrouted)", "random (unrouted)")
"""Methods that show what a direction does that no activations were looked at for."""
NAMES = tuple(f"{method} ({kind})" for kind in KINDS for method in METHODS[kind])
"""All methods."""


class Results:
    """The results of runs, by kind of model, method and seed.

    Attributes:
        records: the results.
        methods: names of the methods that were run.
    """

    def __init__(self, records: Sequence[Result]) -> None:
        self.records = tuple(records)
        ran = {f"{method} ({each['kind']})" for each in records for method in each["steering"]}
        self.methods = tuple(name for name in NAMES if name in ran)

    def runs(self, kind: str) -> dict[int, Result]:
        """Return the results of a kind of model by seed."""
        return {each["seed"]: each for each in self.records if each["kind"] == kind}

    def steering(self, name: str) -> dict[int, Mapping[str, Any]]:
        """Return what was measured of a method by seed."""
        method, kind = name.removesuffix(")").split(" (")
        return {seed: each["steering"][method] for seed, each in self.runs(kind).items()}

    def folds(self, name: str, budget: float) -> dict[int, float]:
        """Return the ratio of the steered rate to the rate before at a budget, by seed.

        NaN if the curve of the method ends below the budget.
        """
        found = {}
        for seed, each in self.steering(name).items():
            values = {point["budget"]: point["fold"] for point in each["budgets"]}
            found[seed] = nan if values[budget] is None else float(values[budget])
        return found

    def sampled(self, name: str, measure: str = "rate") -> dict[int, float]:
        """Return a measure of the texts that a steered model samples, by seed."""
        several = self.steering(name).items()
        return {seed: each["samples"][measure] for seed, each in several if each["samples"]}

    def unsteered(self, kind: str, measure: str = "rate") -> dict[int, float]:
        """Return a measure of the texts that a model samples when it is not steered, by seed."""
        several = self.runs(kind).items()
        return {seed: each["samples"][measure] for seed, each in several if each["samples"]}

    def ranks(self, kind: str, group: str, *, random: bool = False) -> dict[int, float]:
        """Return the mean percentile rank of a group of tokens by seed.

        Args:
            kind: kind of model.
            group: `concept`, or a group of related words.
            random: whether along other dimensions than that of the concept, on average.
        """
        field = "random_dimension_ranks" if random else "ranks"
        return {seed: each[field][group] for seed, each in self.runs(kind).items()}

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of tokens whose ranks are known."""
        return tuple(self.records[0]["ranks"]) if self.records else ()

    def losses(self, kind: str) -> dict[int, float]:
        """Return the held-out loss of models that are not steered, by seed."""
        return {seed: each["measures"]["loss"] for seed, each in self.runs(kind).items()}


def summary(results: Results, settings: SteeringConfig) -> dict[str, Any]:
    """Return the content of `summary.json`: estimates over seeds, and the results of all runs."""
    if not results.records:
        return {"runs": []}
    budgets = {f"{budget:g}": budget for budget in settings.budgets}
    folds = {
        name: {
            key: estimate([*results.folds(name, each).values()]) for key, each in budgets.items()
        }
        for name in results.methods
    }
    ahead = {
        name: {key: _lead(results, name, each) for key, each in budgets.items()}
        for name in results.methods
        if name != SCALAR and SCALAR in results.methods
    }
    ranks = {
        title: {
            group: estimate([*results.ranks(kind, group, random=random).values()])
            for group in results.groups
        }
        for title, kind, random in RANKED
    }
    plain = {
        "fold_at_budget": folds,
        "scalar_fold_over_other": ahead,
        "percentile_ranks": ranks,
        "loss": {kind: estimate([*results.losses(kind).values()]) for kind in KINDS},
        "cost_of_routing": difference_by_seed(results.losses("routed"), results.losses("unrouted")),
    }
    return {**_as_data(plain), "verdict": verdict(results, settings), "runs": [*results.records]}


RANKED = (
    ("routed", "routed", False),
    ("unrouted", "unrouted", False),
    ("random dimension", "routed", True),
)
"""Title, kind of model, and whether other dimensions are meant, of each row of ranks."""


def _lead(results: Results, name: str, budget: float) -> Estimate:
    """Return by how much the fold of the scalar exceeds that of another method, relative to it."""
    return relative_change_by_seed(results.folds(SCALAR, budget), results.folds(name, budget))


def _as_data(data: Any) -> Any:  # noqa: ANN401
    if isinstance(data, Estimate):
        return data._asdict()
    return {name: _as_data(each) for name, each in data.items()}


def tables(results: Results, config: RunConfig) -> list[Table]:
    """Return the table of ranks and the table of methods."""
    return [ranks_table(results, config), methods_table(results, config)]


def _title(config: RunConfig, results: Results) -> str:
    words = " ".join(config.corpus.concept_words)
    seeds = len({each["seed"] for each in results.records})
    return f"{words}, {seeds} seed{'s' * (seeds != 1)}"


def ranks_table(results: Results, config: RunConfig) -> Table:
    """Return a row for each model: percentile ranks of the concept and of related words, and loss.

    0% is the token of the vocabulary that is aligned best with the dimension.
    """
    headings = [f"{group}\nrank" for group in results.groups]
    table = plain_table(f"{_title(config, results)}: alignment", "model", [*headings, "loss"])
    cell, loss = formatter(".1f", ".1f"), formatter(".4f", ".4f")
    for title, kind, random in RANKED:
        if not results.runs(kind):
            continue
        ranks = (results.ranks(kind, group, random=random) for group in results.groups)
        cells = [f"{cell(estimate([*each.values()]))}%" for each in ranks]
        own = "" if random else loss(estimate([*results.losses(kind).values()]))
        table.add_row(title, *cells, own)
    table.caption = (
        "Percentile ranks by U[i, k] / ||U[i]|| among the tokens of the text: 0% is the best "
        "aligned; related words were never routed"
    )
    return table


def methods_table(results: Results, config: RunConfig) -> Table:
    """Return a row for each method: the ratio of the rates at each budget, and sampled rates."""
    settings = config.steering
    headings = [f"at +{budget:g}\nnats" for budget in settings.budgets]
    sampled = [f"sampled\nat +{settings.sample_budget:g}"] if settings.samples else []
    title = f"{_title(config, results)}: rate of the concept, relative to before"
    table = plain_table(title, "method", [*headings, *sampled, "block"])
    fold, share = formatter(".1f", ".1f"), formatter(".2%")
    for name in results.methods:
        folds = (estimate([*results.folds(name, each).values()]) for each in settings.budgets)
        cells = [f"{fold(each)}x" if each.seeds else "-" for each in folds]
        cells += [share(estimate([*results.sampled(name).values()]))] * bool(sampled)
        blocks = sorted({each["block"] for each in results.steering(name).values()})
        table.add_row(name, *cells, " ".join(map(str, blocks)))
    for kind in KINDS if sampled else ():
        rate = share(estimate([*results.unsteered(kind).values()]))
        table.add_row(f"not steered ({kind})", *["1.0x"] * len(headings), rate, "")
    table.caption = (
        "Mean probability of the concept on held-out text before the loss rises by so much, over "
        "that of the same model not steered; interquartile means over seeds, and half of their "
        "95% intervals"
    )
    return table


def verdict(results: Results, settings: SteeringConfig) -> str:
    """Return how the scalar compares with the best other vector, which is no control, in words."""
    budget = settings.sample_budget
    if budget not in settings.budgets:
        budget = settings.budgets[len(settings.budgets) // 2]
    means = {name: estimate([*results.folds(name, budget).values()]) for name in results.methods}
    others = {
        name: mean.value
        for name, mean in means.items()
        if mean.seeds and name != SCALAR and name.endswith("(unrouted)") and name not in CONTROLS
    }
    if not others or SCALAR not in means or not means[SCALAR].seeds:
        return f"The scalar cannot be compared at +{budget:g} nats: a curve ends too early."
    best = max(others, key=others.__getitem__)
    lead = _lead(results, best, budget)
    known = lead.known and lead.seeds >= MIN_SEEDS
    words = "with fewer than 3 seeds, no difference is claimed"
    if known and is_significant(lead):
        words = "the scalar is ahead" if lead.value > 0 else f"{best} is ahead"
    elif known:
        words = "the interval of their difference includes zero"
    within = f" (95% interval {lead.low:+.0%} to {lead.high:+.0%})" if lead.known else ""
    return (
        f"At +{budget:g} nats the scalar raises the rate of the concept "
        f"{means[SCALAR].value:.1f}-fold and the best vector found in unrouted models, {best}, "
        f"{others[best]:.1f}-fold: {lead.value:+.0%}{within}; {words}."
    )
