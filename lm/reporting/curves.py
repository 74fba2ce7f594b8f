"""Relearning curves: the worst attack on each run, and means over seeds.

Losses come back within steps even for gold, and facts do not; so both are told.
"""

from typing import NamedTuple

from lm.attack.interval import Estimate
from lm.attack.records import from_json
from lm.attack.worst import Worst, worst
from lm.reporting.estimate import estimate
from lm.reporting.runs import Result, Runs

Band = dict[int, Estimate]
"""What the seeds say, by step of the attack."""


class Shown(NamedTuple):
    """What is looked at while a model relearns."""

    attack: str
    """one of `lm.attack.attacks.ATTACKS`"""
    measure: str
    """what it measured"""


LOSS = Shown("same", "forget_loss")
"""The loss on stories to forget, while others of them are trained on."""
FACTS = Shown("half", "mcq_forget_second")
"""The facts of one half, while stories of the other half are trained on."""


def worst_of(result: Result, shown: Shown) -> Worst | None:
    """Return the worst attack on a run at each step, None if it was not attacked so."""
    records = [record for record in result.get("curves", ()) if record["attack"] == shown.attack]
    if not records:
        return None
    curves = [from_json(record) for record in records]
    return worst(curves, shown.measure, shown.measure.endswith("loss"))


def by_seed(runs: Runs, method: str, shown: Shown) -> dict[int, Worst]:
    """Return the worst attack on each run of a method, by seed."""
    found = {
        result["seed"]: worst_of(result, shown)
        for result in runs.results
        if result["method"] == method
    }
    return {seed: curve for seed, curve in sorted(found.items()) if curve is not None}


def band(runs: Runs, method: str, shown: Shown) -> Band:
    """Return the worst attack on a method by step, over its seeds; nothing if there was none."""
    curves = by_seed(runs, method, shown)
    points: dict[int, list[float]] = {}
    for curve in curves.values():
        for step, value in zip(curve.steps, curve.values, strict=True):
            points.setdefault(step, []).append(value)
    return {step: estimate(values) for step, values in points.items()}
