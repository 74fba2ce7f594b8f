"""The verdict in one sentence: which method relearns most like gold, how nearly, at what cost.

Relearning from gold teaches everything anew. So the nearer a method's relearning curve is to
gold's, to whichever side, the less was left in the model or broken in it.
"""

from collections.abc import Sequence
from math import isnan

from lm.attack.interval import Estimate
from lm.methods import METHODS
from lm.reporting.estimate import FEWEST, apart, difference, ratio
from lm.reporting.runs import BASE, GOLD, Runs

RELEARNED, RELEARNED_FACTS = "relearned_forget_loss", "relearned_facts"
RETAINED = "retain_loss.repaired"
AREA, AREA_OF_FACTS = "area_to_gold", "area_to_gold_facts"
SHARE, SHARE_OF_FACTS = "share_of_base", "share_of_base_facts"


def verdict(runs: Runs) -> str:
    """Return which method of unlearning has the relearning curve of the loss nearest to gold's.

    A lead counts where the interval of paired differences leaves out zero, from three seeds on.
    Told are the best, the next and the best routed one, by loss and by facts.
    """
    ranked = ranking(runs)
    if not ranked:
        return f"There is no verdict: it takes attacks on {GOLD} and on a method of unlearning."
    best, rest = ranked[0], ranked[1:]
    count = runs.mean(best, AREA).seeds
    tied = [other for other in rest if not apart(_lead(runs, best, other))]
    routed = [method for method in ranked if METHODS[method].expanded]
    told = list(dict.fromkeys([*ranked[:2], *routed[:1]]))
    few = count < FEWEST
    after = f"with {seeds(count)}, no lead is a finding" if few else ""
    sentence = _areas(runs, told) + (f", with 95% intervals over {seeds(count)}" if not few else "")
    start = _winner(best, rest, [] if few else tied)
    start = f"{start}: {sentence}" if start else sentence[0].upper() + sentence[1:]
    return "; ".join(filter(None, [start, _cost(runs, told), after])) + "."


def ranking(runs: Runs) -> list[str]:
    """Return the methods of unlearning that were attacked beside gold, the nearest to it first."""
    found = {method: runs.mean(method, AREA).value for method in runs.contenders}
    known = [method for method, value in found.items() if not isnan(value)]
    return sorted(known, key=lambda method: found[method])


def seeds(count: int) -> str:
    """Return a number of seeds in words."""
    return "1 seed" if count == 1 else f"{count} seeds"


def listed(words: Sequence[str]) -> str:
    """Return words as a list in a sentence.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def spoken(mean: Estimate, form: str) -> str:
    """Return an estimate for a sentence.

    >>> spoken(Estimate(0.12, 0.08, 0.16, 5), ".0%")
    '12% (8% to 16%)'
    """
    within = "" if isnan(mean.low) else f" ({mean.low:z{form}} to {mean.high:z{form}})"
    return f"{mean.value:z{form}}{within}"


def _lead(runs: Runs, one: str, other: str) -> Estimate:
    return difference(runs.values(other, AREA), runs.values(one, AREA))


def _winner(best: str, rest: Sequence[str], tied: Sequence[str]) -> str:
    """Return who is in front; nothing if there is but one."""
    if tied:
        return f"{listed([best, *tied])} cannot be told apart in how nearly they relearn like gold"
    return f"{best} relearns most like gold" if rest else ""


def _areas(runs: Runs, told: Sequence[str]) -> str:
    """Return how far from gold's the curves lie: beside the unrouted model's, if there are any."""
    if runs.mean(told[0], SHARE).seeds:
        start, measures = (
            f"of the area between the relearning curves of {BASE} and {GOLD}, ",
            (
                (SHARE, ".0%", "in loss"),
                (SHARE_OF_FACTS, ".0%", "in facts"),
            ),
        )
    else:
        start, measures = (
            f"of area between its relearning curve and that of {GOLD}, ",
            (
                (AREA, ".2f", "nats times steps"),
                (AREA_OF_FACTS, ".2f", "shares of facts times steps"),
            ),
        )
    clauses = []
    for method in told:
        means = [(runs.mean(method, measure), form, what) for measure, form, what in measures]
        known = [f"{spoken(mean, form)} {what}" for mean, form, what in means if mean.seeds]
        clauses.append(f"{method} leaves {listed(known)}")
    return start + ", ".join(clauses)


def _cost(runs: Runs, told: Sequence[str]) -> str:
    """Return the retain losses, beside that of the reference that was run."""
    reference = BASE if runs.values(BASE, RETAINED) else GOLD
    held = runs.values(reference, RETAINED)
    taxes = {method: ratio(runs.values(method, RETAINED), held) for method in told}
    clauses = [
        f"{'+' if tax.value >= 0 else ''}{spoken(tax, '.1%')} for {method}"
        for method, tax in taxes.items()
        if tax.seeds
    ]
    return f"retain loss beside that of {reference}: {listed(clauses)}" if clauses else ""
