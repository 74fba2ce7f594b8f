"""The results of a study as one table, from which its report is made."""

from collections.abc import Mapping, Sequence
from itertools import product
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from lm.methods import BASE, GOLD, METHODS
from oversight.runs.statistics import Estimate, estimate

Result = Mapping[str, Any]
"""The result of one run: an entry of `summary.json`."""
REFERENCES = (GOLD, BASE)
"""Methods that do not depend on the labels of a run."""
VARIED = {
    "recall": "label_recall",
    "precision": "label_precision",
    "expansion": "expansion",
    "topic_count": "topic_count",
}
"""The names in a result of the settings that a study may vary (`lm.config.Variation`)."""
RECORDS = (
    *("curves", "grid", "samples", "training", "gradient_shares", "seconds", "classifier"),
    *("profiles", "validation"),
)
"""Parts of a result that are not single figures."""

RELEARNED, RELEARNED_FACTS = "relearned_forget_loss", "relearned_facts"
RETAINED = "retain_loss.repaired"
AREA, SHARE = "area_to_gold", "share_of_base"
ROBUST = "robust_unlearning"
"""Forget loss after the worst attack minus that of the unrouted model of the same seed before it.

Cloud et al. 2024 (arXiv 2410.04332, figure 5) subtract each model's own loss before ablation, and
the unrouted model's where nothing is ablated; one reference for all makes methods comparable.
"""

CHANCES = ("mcq_forget_chance", "mcq_retain_chance")
"""The shares of right answers to questions about documents by guessing."""


class Results:
    """The results of runs as one table: a row for each run, a column for each dotted measure.

    Attributes:
        records: the results.
        frame: the table, with a column `robust_unlearning` where it can be computed.
        methods: names of the methods that were run, in the order of `lm.methods.METHODS`.
    """

    def __init__(self, records: Sequence[Result]) -> None:
        self.records = tuple(records)
        figures = [{k: v for k, v in each.items() if k not in RECORDS} for each in records]
        self.frame = pd.json_normalize(figures)
        ran = {each["method"] for each in records}
        self.methods = tuple(method for method in METHODS if method in ran)
        of_base = {peers_of(each): each for each in records if each["method"] == BASE}
        if of_base and RELEARNED in self.frame:
            base = [number(of_base.get(peers_of(r), {}), "forget_loss.before") for r in records]
            self.frame[ROBUST] = pd.to_numeric(self.frame[RELEARNED]) - base

    @property
    def contenders(self) -> tuple[str, ...]:
        """The methods of unlearning: neither references nor controls."""
        return tuple(method for method in self.methods if METHODS[method].unlearns)

    @property
    def over_seeds(self) -> str:
        """How the numbers of a table summarize seeds, as the end of its caption."""
        if self.frame["seed"].nunique() > 1:
            return "Interquartile means over seeds, and half of their 95% intervals"
        return (
            "One seed: machines that round differently give other digits; --seeds 0 1 2 adds "
            "intervals"
        )

    @property
    def guessing(self) -> float:
        """The share of right answers by guessing: questions about stories have four choices."""
        known = [name for name in CHANCES if name in self.frame]
        return float(pd.to_numeric(self.frame[known[0]]).mean()) if known else 0.25

    @property
    def of_documents(self) -> bool:
        """Whether questions of a file are asked, and not those about the facts of stories."""
        return any(name in self.frame for name in CHANCES)

    @property
    def recalls(self) -> tuple[float, ...]:
        """The label recalls of all methods but the references, in ascending order."""
        return self._varied("recall")

    @property
    def precisions(self) -> tuple[float, ...]:
        """The label precisions of all methods but the references, in ascending order."""
        return self._varied("precision")

    @property
    def expansions(self) -> tuple[int, ...]:
        """The numbers of hidden units of all methods that add some, in ascending order."""
        return self._varied("expansion")

    @property
    def topic_counts(self) -> tuple[int, ...]:
        """The numbers of topics to forget, in ascending order."""
        return self._varied("topic_count")

    def _varied(self, setting: str) -> tuple[Any, ...]:
        """Return the values of a setting that runs depend on, in ascending order."""
        found = {varied_settings(each)[setting] for each in self.records}
        return tuple(sorted(found - {None}))

    def at(
        self,
        recall: float | None = None,
        precision: float | None = None,
        expansion: int | None = None,
        topic_count: int | None = None,
    ) -> "Results":
        """Return the results at a variation of the settings; None leaves a setting open.

        Runs that do not depend on a setting belong to all of its values: the references to all
        qualities of labels, and methods that add no hidden units to all expansions.
        """
        wanted = dict(zip(VARIED, (recall, precision, expansion, topic_count), strict=True))
        return Results(
            [
                each
                for each in self.records
                if all(
                    wanted[setting] is None or value in (None, wanted[setting])
                    for setting, value in varied_settings(each).items()
                )
            ]
        )

    def by_variation(self) -> dict[str, "Results"]:
        """Return the results at each variation of the settings, by what it is in words.

        The words name the label recall, and the other settings that have several values.
        """
        values: tuple[tuple[Any, ...], ...] = (
            self.recalls,
            self.precisions,
            self.expansions,
            self.topic_counts,
        )
        found = {}
        for recall, precision, units, count in product(*(each or (None,) for each in values)):
            part = self.at(recall, precision, units, count)
            if set(part.methods) <= set(REFERENCES):
                continue
            words = (
                f"label recall {recall:g}",
                f"precision {precision:g}",
                f"{units} units",
                topics_in_words(count),
            )
            said = [w for w, several in zip(words, values, strict=True) if len(several) > 1]
            found[", ".join(dict.fromkeys([words[0], *said]))] = part
        return found

    def values(self, method: str, measure: str, recall: float | None = None) -> dict[int, float]:
        """Return the finite values of a measure of a method by seed, in ascending order of seeds.

        Args:
            method: name of the method.
            measure: a column of the table, such as `forget_loss.after`.
            recall: label recall of the runs; by default all runs are read.
        """
        if measure not in self.frame:
            return {}
        rows = self.frame[self.frame["method"] == method]
        if recall is not None and method not in REFERENCES:
            rows = rows[rows["label_recall"] == recall]
        known = pd.to_numeric(rows.set_index("seed")[measure]).sort_index()
        return {int(seed): float(value) for seed, value in known[np.isfinite(known)].items()}

    def mean(self, method: str, measure: str, recall: float | None = None) -> Estimate:
        """Return the interquartile mean of a measure over seeds."""
        return estimate(list(self.values(method, measure, recall).values()))

    def by_recall(self, method: str, measure: str) -> dict[float, Estimate]:
        """Return the known means of a measure by label recall; a reference has only recall 1."""
        recalls = (1.0,) if method in REFERENCES else self.recalls
        found = {recall: self.mean(method, measure, recall) for recall in recalls}
        return {recall: mean for recall, mean in found.items() if mean.seeds}


def topics_in_words(count: int | None) -> str:
    """Return a number of topics for a title.

    >>> topics_in_words(1), topics_in_words(4)
    ('1 topic', '4 topics')
    """
    return f"{count} topic{'' if count == 1 else 's'}"


def varied_settings(result: Result) -> dict[str, Any]:
    """Return the settings that a study may vary by name, None where a run does not depend on one.

    >>> varied_settings({"method": "gold", "label_recall": 0.9, "topic_count": 2})
    {'recall': None, 'precision': None, 'expansion': None, 'topic_count': 2}
    """
    found = {setting: result.get(name) for setting, name in VARIED.items()}
    return found | ({"recall": None, "precision": None} if result["method"] in REFERENCES else {})


def peers_of(result: Result) -> tuple[int, int | None]:
    """Return the seed and the number of topics, which a run has in common with its references."""
    return result["seed"], result.get("topic_count")


def number(result: Result, measure: str) -> float:
    """Return a number of a result by its dotted path, NaN if there is none.

    >>> number({"forget_loss": {"after": 3.0}}, "forget_loss.after")
    3.0
    """
    value: Any = result
    for name in measure.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return nan if value is None else float(value)
