"""The report of a study: figures by method over seeds, tables, and the comparison in a sentence.

A method is a vector on a kind of model, as `scalar (routed)`. Methods are compared at equal cost:
the highest rate of the concept before the loss of the model has risen by a budget, over the rate of
the concept in the texts. That denominator is the same for all models; a model's own rate is not,
and one that has not learned the concept would gain by it.
"""

from collections.abc import Mapping, Sequence
from math import exp, nan
from typing import Any

from rich.table import Table

from lm.steering.config import RunConfig, SteeringConfig
from lm.steering.training import KINDS
from lm.steering.vectors import METHODS
from oversight.runs.console import formatter, plain_table
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
        """Return the ratio of the steered rate at a budget to the rate in the texts, by seed.

        NaN if the curve of the method ends below the budget.
        """
        found, texts = {}, self.natural_rates
        for seed, each in self.steering(name).items():
            rates = {point["budget"]: point["rate"] for point in each["budgets"]}
            found[seed] = nan if rates[budget] is None else float(rates[budget]) / texts[seed]
        return found

    def unsteered_folds(self, kind: str) -> dict[int, float]:
        """Return the ratio of the rate of models that are not steered to that in the texts."""
        texts = self.natural_rates
        return {
            seed: each["measures"]["rate"] / texts[seed] for seed, each in self.runs(kind).items()
        }

    @property
    def natural_rates(self) -> dict[int, float]:
        """The rate of the concept in the texts, by seed."""
        return {each["seed"]: each["natural_rate"] for each in self.records}

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
        "fold_not_steered": {
            kind: estimate([*results.unsteered_folds(kind).values()]) for kind in KINDS
        },
        "natural_rate": estimate([*results.natural_rates.values()]),
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
    """Return a row for each method: the rate at each budget over that in texts, and in samples.

    The ceiling is what a rate of the concept that is the same everywhere, and takes from all other
    tokens alike, would cost: a rate r costs -log(1 - r) nats.
    """
    settings = config.steering
    headings = [f"at +{budget:g}\nnats" for budget in settings.budgets]
    sampled = [f"sampled\nat +{settings.sample_budget:g}"] if settings.samples else []
    title = f"{_title(config, results)}: rate of the concept, relative to the texts"
    table = plain_table(title, "method", [*headings, *sampled, "block"])
    fold, share = formatter(".1f", ".1f"), formatter(".2%")
    for name in results.methods:
        folds = (estimate([*results.folds(name, each).values()]) for each in settings.budgets)
        cells = [f"{fold(each)}x" if each.seeds else "-" for each in folds]
        cells += [share(estimate([*results.sampled(name).values()]))] * bool(sampled)
        blocks = sorted({each["block"] for each in results.steering(name).values()})
        table.add_row(name, *cells, " ".join(map(str, blocks)))
    for kind in KINDS:
        rate = [share(estimate([*results.unsteered(kind).values()]))] * bool(sampled)
        before = f"{fold(estimate([*results.unsteered_folds(kind).values()]))}x"
        table.add_row(f"not steered ({kind})", *[before] * len(headings), *rate, "")
    natural = estimate([*results.natural_rates.values()]).value
    ceilings = (f"{ceiling(budget) / natural:.1f}x" for budget in settings.budgets)
    table.add_row("ceiling", *ceilings, *[""] * (len(sampled) + 1))
    table.caption = (
        f"Mean probability of the concept on held-out text before the loss rises by so much, over "
        f"its rate in texts, {natural:.3%}; interquartile means over seeds, and half of their 95% "
        "intervals. Ceiling: the same rate everywhere, from all other tokens alike"
    )
    return table


def ceiling(budget: float) -> float:
    """Return the rate of a concept that costs a budget, in nats, if it is the same everywhere.

    >>> round(ceiling(0.1), 4)
    0.0952
    """
    return 1 - exp(-budget)


def verdict(results: Results, settings: SteeringConfig) -> str:
    """Return how the scalar compares with the best other vector, which is no control, in words."""
    budget = settings.sample_budget
    if budget not in settings.budgets:
        budget = settings.budgets[len(settings.budgets) // 2]
    means = {name: estimate([*results.folds(name, budget).values()]) for name in results.methods}
    others = {
        name: mean.value
        for name, mean in means.items()
        if mean.seeds and name.endswith("(unrouted)") and name not in CONTROLS
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
        f"At +{budget:g} nats the scalar reaches {means[SCALAR].value:.1f} times the rate of the "
        f"concept in texts, and the best vector found in unrouted models, {best}, "
        f"{others[best]:.1f} times: {lead.value:+.0%}{within}; {words}. {_controls(means)}"
    )


def _controls(means: Mapping[str, Estimate]) -> str:
    """Return what the controls reach, in words."""
    said = [f"{name} {means[name].value:.1f} times" for name in CONTROLS if means[name].seeds]
    return f"Controls: {', '.join(said)}." if said else "No control reaches the budget."
