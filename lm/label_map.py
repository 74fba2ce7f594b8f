"""Where routing leaves less of what is to be forgotten than filtering with the same information.

A routed method is compared with a method of filtering that is told no more, at each quality of the
labels: by the forget loss and the forget facts after the worst attack, which are what is left of
the ability, and by what became of the texts to retain. Routing that removes more and damages more
has a price, and is not ahead.
"""

from collections.abc import Sequence
from itertools import product
from typing import Literal, NamedTuple

from rich.table import Table

from lm.methods import METHODS
from lm.results import RELEARNED, RELEARNED_FACTS, RETAINED, Results
from lm.training.route_tables import FILTERED
from oversight.runs.console import formatter, plain_table
from oversight.runs.statistics import MIN_SEEDS, Estimate, difference_by_seed, is_significant

RETAINED_FACTS = "mcq_retain.repaired"
MARGINS = {RETAINED: 0.02, RETAINED_FACTS: 0.05}
"""By how much more of the retain loss, in nats per token, and by how much less of the retain facts,
as a share, a method may have than another and count as no worse."""
REMOVED = "forget_loss.repaired"
"""The forget loss before any attack."""

Outcome = Literal[
    "ahead", "ahead at a price", "mixed", "even", "behind, retains more", "behind", "unknown"
]
"""How routing compares with filtering. even: the intervals of the differences of loss and facts
include zero; mixed: one is better, and the other worse; unknown: there are fewer than three
seeds."""
signed, signed_share = formatter("+.3f", ".3f"), formatter("+.0%", ".0f", scale=100)


class Comparison(NamedTuple):
    """A routed method compared with filtering by paired differences, at one quality of labels."""

    routed: str
    filtered: str
    recall: float
    precision: float
    removed: Estimate
    """Forget loss of the routed method minus that of filtering, after removal."""
    attacked: Estimate
    """The same difference after the worst attack."""
    attacked_facts: Estimate
    """Difference of the forget facts that are known after relearning others."""
    retained: Estimate
    """Difference of the retain losses."""
    retained_facts: Estimate
    """Difference of the retain facts."""

    @property
    def outcome(self) -> Outcome:
        """Whether routing leaves less of the ability to forget, and at which price."""
        if self.attacked.seeds < MIN_SEEDS:
            return "unknown"
        loss, facts = self.attacked, self.attacked_facts
        signs = {each.value > 0 for each in (loss, _minus(facts)) if is_significant(each)}
        if len(signs) != 1:
            return "mixed" if signs else "even"
        (ahead,) = signs
        lost = zip((self.retained.value, -self.retained_facts.value), MARGINS.values(), strict=True)
        sign = 1 if ahead else -1  # the price is what the one that is ahead has lost
        # texts without facts have no share of them, and NaN is not above a margin
        priced = any(sign * each > margin for each, margin in lost)
        if ahead:
            return "ahead at a price" if priced else "ahead"
        return "behind, retains more" if priced else "behind"


def _minus(estimate: Estimate) -> Estimate:
    """Return the estimate of a difference the other way round."""
    return Estimate(-estimate.value, -estimate.high, -estimate.low, estimate.seeds)


def is_filtering(method: str) -> bool:
    """Return whether a method only leaves texts out, by labels that may be wrong.

    >>> [is_filtering(name) for name in ("filtered-classified", "gold", "lora-branch", "gram")]
    [True, False, False, False]
    """
    each = METHODS[method]
    plain = each.modules is None and each.branch == "none" and each.posthoc is None
    return plain and each.table == FILTERED and not each.labels.true


def information(method: str) -> tuple[bool, bool]:
    """Return whether a method has a classifier, and is told a share of the labels retain.

    >>> information("gram"), information("parameters-classified")
    ((False, True), (True, False))
    """
    told = METHODS[method].labels
    return told.classified, told.retain_missing


def rivals(methods: Sequence[str]) -> list[tuple[str, str]]:
    """Return each routed method with each method of filtering that has no more information.

    Methods after training, and labels of tokens, are not compared.

    >>> rivals(["filtered", "filtered-classified", "parameters", "gram-classified"])
    [('parameters', 'filtered'), ('gram-classified', 'filtered-classified')]
    """
    documents = [name for name in methods if METHODS[name].labels.unit == "document"]
    routed = [
        name
        for name in documents
        if METHODS[name].unlearns
        and METHODS[name].ablation == "expansion"
        and not is_filtering(name)
    ]
    filters = [name for name in documents if is_filtering(name)]
    return [
        (one, other)
        for one, other in product(routed, filters)
        if information(one)[0] == information(other)[0]
        and information(one)[1] >= information(other)[1]
        and METHODS[one].posthoc is None
    ]


def label_map(results: Results) -> list[Comparison]:
    """Return the comparison of each routed method with each of its rivals at each label quality.

    Args:
        results: results of a sweep over labels.
    """
    found = []
    for recall, precision in product(results.recalls, results.precisions):
        part = results.at(recall, precision)
        for pair in rivals(part.methods):
            measures = (REMOVED, RELEARNED, RELEARNED_FACTS, *MARGINS)
            apart = [_difference(part, pair, measure) for measure in measures]
            if apart[1].seeds:
                found.append(Comparison(*pair, recall, precision, *apart))
    return found


def _difference(results: Results, pair: tuple[str, str], measure: str) -> Estimate:
    """Return a measure of the first method minus that of the second, over the seeds of both."""
    return difference_by_seed(*(results.values(method, measure) for method in pair))


def map_table(title: str, comparisons: Sequence[Comparison]) -> Table:
    """Return a row for each comparison.

    Args:
        title: title of the table.
        comparisons: those of a `label_map`.
    """
    heads = (
        "forget\nloss",
        "after\nattack",
        "facts after\nattack",
        "retain\nloss",
        "retain\nfacts",
    )
    table = plain_table(title, "routed -\nfiltering", ["labels", *heads, "routing is"])
    for each in comparisons:
        table.add_row(
            f"{each.routed} -\n{each.filtered}",
            f"{each.recall:g}, {each.precision:g}",
            *(signed(each.removed), signed(each.attacked), signed_share(each.attacked_facts)),
            *(signed(each.retained), signed_share(each.retained_facts), each.outcome),
        )
    table.caption = (
        "Routed minus filtered, seed by seed. labels: recall and precision; ahead: more forget "
        f"loss or fewer forget facts after the worst attack, neither of them worse, at most "
        f"{MARGINS[RETAINED]:g} nats more retain loss and {MARGINS[RETAINED_FACTS]:.0%} fewer "
        f"retain facts; even: no significant difference; unknown: fewer than {MIN_SEEDS} seeds"
    )
    return table


def map_verdict(comparisons: Sequence[Comparison]) -> str:
    """Return where routing is ahead of filtering with the same information, in a sentence.

    A routed method is ahead at a label quality if it is ahead of all its rivals there.
    """
    groups: dict[tuple[str, float, float], list[Comparison]] = {}
    for each in comparisons:
        groups.setdefault((each.routed, each.recall, each.precision), []).append(each)
    ahead = [
        f"{routed} at recall {recall:g} and precision {precision:g}"
        for (routed, recall, precision), each in groups.items()
        if all(one.outcome == "ahead" for one in each)
    ]
    if ahead:
        return f"Routing is ahead of filtering with the same information: {'; '.join(ahead)}."
    if max((each.attacked.seeds for each in comparisons), default=0) < MIN_SEEDS:
        return (
            "Whether routing is ahead of filtering with the same information is unknown with fewer "
            f"than {MIN_SEEDS} seeds."
        )
    return "Routing is ahead of filtering with the same information at no measured label quality."
