"""A sweep over label recall: robust unlearning, facts and retain loss, by method and share."""

from collections.abc import Sequence

from rich.table import Table

from lm.attack.interval import Estimate
from lm.reporting.estimate import apart, difference, estimate
from lm.reporting.runs import BASE, GOLD, Result, Runs
from lm.reporting.table import nats
from lm.reporting.verdict import RELEARNED, RELEARNED_FACTS, RETAINED, listed
from oversight.table import plain_table

ROBUST = "robust_unlearning"
"""The forget loss after the worst attack, less that of the unrouted model of the same seed.

Cloud et al. 2024 (arXiv 2410.04332, figure 5) subtract each model's own before ablation, and the
unrouted model's where nothing is ablated; one for all compares what an owner can choose between.
"""

PANELS = {
    "robust unlearning, nats": ROBUST,
    "forget facts, share": RELEARNED_FACTS,
    "retain loss, nats": RETAINED,
}
"""What is shown, by its title."""


class Labelled:
    """The runs of a sweep, by label recall.

    The references know no labels, or all, whatever the recall: one run of each serves all.

    Attributes:
        results: all of them.
        recalls: the shares of labels, rising.

    Args:
        results: each with its `label_recall`.
    """

    def __init__(self, results: Sequence[Result]) -> None:
        self.results = tuple(results)
        own = [each["label_recall"] for each in results if each["method"] not in (GOLD, BASE)]
        self.recalls = tuple(sorted(set(own)))
        self._all = Runs(results)
        self._runs = {
            recall: Runs([each for each in results if each["label_recall"] == recall])
            for recall in self.recalls
        }

    @property
    def methods(self) -> tuple[str, ...]:
        """All methods that were run."""
        return self._all.methods

    def values(self, method: str, recall: float, measure: str) -> dict[int, float]:
        """Return a measure of a method at a recall, by seed."""
        runs = self._all if method in (GOLD, BASE) else self._runs[recall]
        if measure != ROBUST:
            return runs.values(method, measure)
        before = self._all.values(BASE, "forget_loss.before")
        relearned = runs.values(method, RELEARNED)
        return {seed: value - before[seed] for seed, value in relearned.items() if seed in before}

    def line(self, method: str, measure: str) -> dict[float, Estimate]:
        """Return the means of a method by recall; a reference has its one at recall 1."""
        recalls = (1.0,) if method in (GOLD, BASE) else self.recalls
        means = {
            recall: estimate(list(self.values(method, recall, measure).values()))
            for recall in recalls
        }
        return {recall: mean for recall, mean in means.items() if mean.seeds}


def labels_table(title: str, labelled: Labelled) -> Table:
    """Return a row for each method and known measure, and a column for each share of labels."""
    table = plain_table(title, "method", ["", *(f"{recall:g}" for recall in labelled.recalls)])
    panels = known_panels(labelled)
    for panel, measure in panels.items():
        for method in labelled.methods:
            line = labelled.line(method, measure)
            once = method in (GOLD, BASE)
            cells = [line.get(1.0 if once else recall) for recall in labelled.recalls]
            shown = ["-" if mean is None else nats(mean) for mean in cells]
            table.add_row(method, panel.split(",")[0], *shown)
        table.add_section()
    table.caption = (
        "By the share of the stories to forget that is labelled so. robust unlearning: forget loss "
        "after the worst attack, less that of the unrouted model, in nats per token"
        + (
            "; forget facts: the share known when others were relearned, 0.25 by guessing"
            if RELEARNED_FACTS in panels.values()
            else ""
        )
        + ". Means over seeds, and half of their 95% intervals"
    )
    return table


def known_panels(labelled: Labelled) -> dict[str, str]:
    """Return the panels of which anything is known: those on facts need a subject that has some."""
    return {
        panel: measure
        for panel, measure in PANELS.items()
        if any(labelled.line(method, measure) for method in labelled.methods)
    }


def labels_verdict(labelled: Labelled) -> str:
    """Return at which shares of labels which method is ahead of all others in robust unlearning.

    Ahead is who leads each other method by an interval over shared seeds that leaves out zero.
    """
    ahead: dict[str, list[str]] = {}
    for recall in labelled.recalls:
        winner = _winner(labelled, recall)
        if winner is not None:
            ahead.setdefault(winner, []).append(f"{recall:g}")
    open_at = [f"{recall:g}" for recall in labelled.recalls if _winner(labelled, recall) is None]
    clauses = [f"{method} is ahead at {listed(places)}" for method, places in ahead.items()]
    clauses += [f"no method leads beyond its interval at {listed(open_at)}"] if open_at else []
    return f"Of the shares of labels, in robust unlearning, {'; '.join(clauses)}."


def _winner(labelled: Labelled, recall: float) -> str | None:
    found = {
        method: labelled.values(method, recall, ROBUST)
        for method in labelled.methods
        if method not in (GOLD, BASE)
    }
    found = {method: values for method, values in found.items() if values}
    if len(found) < 2:
        return None
    best = max(found, key=lambda method: estimate(list(found[method].values())).value)
    leads = [difference(found[best], values) for other, values in found.items() if other != best]
    return best if all(apart(each) for each in leads) else None
