"""The report of a study: its tables and sentences, made from the results of its runs.

A method forgets well if relearning from its model is like relearning from gold, which never saw the
texts to forget: an attack itself adds knowledge, and gold shows how much. So methods are ranked by
the area between their relearning curve and that of gold. Losses recover within a few steps even
from gold, and facts do not, so that both are reported.
"""

from collections.abc import Sequence
from typing import NamedTuple

from rich.table import Table

from lm.attacks.results import (
    WorstCase,
    area,
    curve_from_json,
    share,
    steps_to_reach,
    worst_case,
)
from lm.methods import BASE, GOLD, METHODS
from lm.results import (
    AREA,
    REFERENCES,
    RELEARNED,
    RELEARNED_FACTS,
    RETAINED,
    ROBUST,
    SHARE,
    Result,
    Results,
    number,
    peers_of,
)
from oversight.runs.console import Format, formatter, plain_table
from oversight.runs.statistics import (
    MIN_SEEDS,
    Estimate,
    difference_by_seed,
    estimate,
    is_significant,
    relative_change_by_seed,
)


class Relearning(NamedTuple):
    """A measure that is taken during an attack that relearns."""

    attack: str
    """One of `lm.attacks.relearning.ATTACKS`."""
    measure: str
    """The measure at each step of the attack."""


LOSS_CURVE = Relearning("same", "forget_loss")
"""The loss on texts to forget, while the attack trains on others of them."""
FACTS_CURVE = Relearning("half", "mcq_forget_second")
"""Known facts of one half, while the attack trains on stories of the other half."""
ASKED_CURVE = Relearning("same", "mcq_forget")
"""Known answers to questions about documents, while the attack trains on texts to forget."""


def worst_curve(result: Result, curve: Relearning) -> WorstCase | None:
    """Return the worst case over the settings of an attack by step; None if it was not run.

    Documents without texts to relearn from have no halves of facts: their questions are asked while
    the attack trains on texts to forget, which may state the answers.
    """
    records = [
        each
        for each in result.get("curves", ())
        if each["attack"] == curve.attack and curve.measure in each["values"]
    ]
    if not records:
        return worst_curve(result, ASKED_CURVE) if curve == FACTS_CURVE else None
    curves = [curve_from_json(record) for record in records]
    return worst_case(curves, curve.measure, curve.measure.endswith("loss"))


def mean_curve(results: Results, method: str, curve: Relearning) -> dict[int, Estimate]:
    """Return the mean over seeds of a method's worst case, by step; empty if it was not run."""
    points: dict[int, list[float]] = {}
    for result in results.records:
        found = worst_curve(result, curve) if result["method"] == method else None
        for step, value in zip(found.steps, found.values, strict=True) if found else ():
            points.setdefault(step, []).append(value)
    return {step: estimate(values) for step, values in points.items()}


def compare_with_references(
    result: Result, others: Sequence[Result]
) -> dict[str, float | int | None]:
    """Return the measures that compare a result with gold and unrouted of the same seed and topics.

    - `relearned_forget_loss`, `relearned_facts`: the measure after all steps of the worst attack;
    - `savings_vs_gold`: area between the relearning curve of the forget loss and gold's, in nats
      times steps; above 0 relearning is ahead of gold;
    - `savings_vs_gold_facts`: the same for the share of forget facts known;
    - `area_to_gold`, `area_to_gold_facts`: the unsigned area between the curve and that of gold;
    - `share_of_base`, `share_of_base_facts`: that area divided by the area of the unrouted model;
    - `steps_to_relearn`: steps until the forget loss returns to that of the unrouted model, None
      if it never does.

    A measure is left out where a run is missing.
    """
    peers = {other["method"]: other for other in others if peers_of(other) == peers_of(result)}
    gold, base = peers.get(GOLD, {}), peers.get(BASE, {})
    found: dict[str, float | int | None] = {}
    for suffix, curve in (("", LOSS_CURVE), ("_facts", FACTS_CURVE)):
        own, of_gold, of_base = (worst_curve(each, curve) for each in (result, gold, base))
        if own:
            found[RELEARNED_FACTS if suffix else RELEARNED] = own.values[-1]
        if own and of_gold:
            found[f"savings_vs_gold{suffix}"] = area(own, of_gold).signed
            found[f"{AREA}{suffix}"] = area(own, of_gold).between
            if of_base:
                found[f"{SHARE}{suffix}"] = share(own, of_gold, of_base)
    own = worst_curve(result, LOSS_CURVE)
    if own and base:
        found["steps_to_relearn"] = steps_to_reach(own, number(base, "forget_loss.before"))
    return found


nats, facts_known = formatter(".3f", ".3f"), formatter(".0%", ".0f", scale=100)

COLUMNS: dict[str, tuple[str, Format]] = {
    "forget\nbefore": ("forget_loss.before", formatter(".3f")),
    "forget\nafter": ("forget_loss.repaired", nats),
    "after\nattack": (RELEARNED, nats),
    "steps to\nrelearn": ("steps_to_relearn", formatter(".0f")),
    "retain\nafter": (RETAINED, nats),
    "facts\nforget": ("mcq_forget.repaired", formatter(".0%")),
    "facts\nretain": ("mcq_retain.repaired", formatter(".0%")),
}
"""Measures of each method and their formats, by the headings of columns."""
ASKED_COLUMNS: dict[str, tuple[str, Format]] = {
    **{heading: COLUMNS[heading] for heading in list(COLUMNS)[:3]},
    "retain\nafter": COLUMNS["retain\nafter"],
    "facts\nbefore": ("mcq_forget.before", formatter(".0%")),
    "facts\nforget": ("mcq_forget.repaired", formatter(".0%")),
    "facts\nattack": (RELEARNED_FACTS, formatter(".0%")),
    "facts\nretain": ("mcq_retain.repaired", formatter(".0%")),
}
"""The same for documents with questions about what is to be forgotten."""


def unlearning_table(title: str, results: Results) -> Table:
    """Return a row for each method: interquartile means over seeds, and half of their intervals."""
    columns = _known_columns(results)
    table = plain_table(title, "method", list(columns))
    for method in results.methods:
        cells = (form(results.mean(method, measure)) for measure, form in columns.values())
        table.add_row(method, *cells)
    table.caption = _caption(results, facts=any(each.startswith("facts") for each in columns))
    return table


def _known_columns(results: Results) -> dict[str, tuple[str, Format]]:
    """Return the columns of the table of methods, without those of facts that are not known."""
    columns = ASKED_COLUMNS if results.of_documents else COLUMNS
    facts = {measure for name, (measure, _) in columns.items() if name.startswith("facts")}
    known = {
        each for each in facts if any(results.values(method, each) for method in results.methods)
    }
    if known and not results.of_documents:
        known = (
            facts  # stories have facts of both splits or none, so that the columns stay in place
        )
    return {k: v for k, v in columns.items() if v[0] in known or v[0] not in facts}


def _caption(results: Results, *, facts: bool) -> str:
    """Return what the columns of the table of methods mean."""
    losses = (
        "Losses in nats per token on held-out texts. before: as trained; after: ablated and "
        "repaired; after attack: the lowest loss of any attack"
    )
    shares = f"facts: multiple choice, {results.guessing:.0%} by guessing"
    if results.of_documents:
        shares += "; forget: after the repair; attack: the largest share under any attack"
    else:
        losses += "; steps: until the loss is back at that of unrouted"
    return ". ".join([losses, *([shares] if facts else []), results.over_seeds])


PANELS = {
    "robust unlearning, nats": ROBUST,
    "forget facts, share": RELEARNED_FACTS,
    "retain loss, nats": RETAINED,
}
"""Measures of a sweep over labels, by their titles."""


def known_panels(results: Results) -> dict[str, str]:
    """Return the panels with a known value: documents have no facts."""
    return {
        panel: measure
        for panel, measure in PANELS.items()
        if any(results.by_recall(method, measure) for method in results.methods)
    }


def labels_table(title: str, results: Results) -> Table:
    """Return a row for each method and known measure, and a column for each label recall."""
    table = plain_table(title, "method", ["", *(f"{recall:g}" for recall in results.recalls)])
    panels = known_panels(results)
    for panel, measure in panels.items():
        for method in results.methods:
            means = (results.mean(method, measure, recall) for recall in results.recalls)
            table.add_row(method, panel.split(",")[0], *map(nats, means))
        table.add_section()
    asked = RELEARNED_FACTS in panels.values()
    table.caption = (
        "By label recall. robust unlearning: forget loss after the worst attack minus that of the "
        "unrouted model, in nats per token"
        + (
            f"; forget facts: the share known after relearning "
            f"{'' if results.of_documents else 'others, '}{results.guessing:.2g} by guessing"
            * asked
        )
        + f". {results.over_seeds}"
    )
    return table


def verdict(results: Results) -> str:
    """Return which method of unlearning has a relearning curve of the loss nearest to gold's.

    A lead counts if the interval of paired differences excludes zero, from three seeds on. Reported
    are the best, the second and the best routed method, by loss and by facts.
    """
    ranked = ranking(results)
    if not ranked:
        nothing = f"There is no verdict: it needs attacks on {GOLD} and on a method of unlearning."
        figures = _figures_without_gold(results) if results.values(BASE, RETAINED) else []
        return " ".join([nothing, *figures])
    best, rest = ranked[0], ranked[1:]
    areas = {method: results.values(method, AREA) for method in ranked}
    tied = [
        other for other in rest if not is_significant(difference_by_seed(areas[other], areas[best]))
    ]
    routed = [method for method in ranked if METHODS[method].kind in ("units", "experts")]
    reported = list(dict.fromkeys([*ranked[:2], *routed[:1]]))
    count = len(areas[best])
    seeds = "1 seed" if count == 1 else f"{count} seeds"
    clauses = [_areas(results, reported), _cost(results, reported)]
    if count < MIN_SEEDS:
        clauses.append(f"with {seeds}, no difference is significant")
    else:
        clauses[0] += f", with 95% intervals over {seeds}"
    if tied and count >= MIN_SEEDS:
        winner = f"{listed([best, *tied])} do not differ significantly in relearning like gold: "
    else:
        winner = f"{best} relearns most like gold: " if rest else ""
    sentence = winner + "; ".join(filter(None, clauses))
    return f"{sentence if winner else sentence[0].upper() + sentence[1:]}."


def _figures_without_gold(results: Results) -> list[str]:
    """Return a sentence for each method that was attacked: what it did to losses and to facts."""
    sentences = []
    for method in results.contenders:
        forget, facts = (
            [results.mean(method, f"{measure}.{stage}") for stage in ("before", "repaired")]
            for measure in ("forget_loss", "mcq_forget")
        )
        attacked = [results.mean(method, each) for each in (RELEARNED, RELEARNED_FACTS)]
        clauses = []
        if attacked[0].seeds:
            before, after, least = (f"{mean.value:.3f}" for mean in (*forget, attacked[0]))
            clauses.append(f"forget loss {before} before, {after} after and {least} under attack")
        if attacked[1].seeds:
            before, after, most = (f"{mean.value:.0%}" for mean in (*facts, attacked[1]))
            clauses.append(
                f"forget facts {before}, {after} and {most} ({results.guessing:.0%} by guessing)"
            )
        if clauses:
            clauses.append(_cost(results, [method]))
            sentences.append(f"{method}: {'; '.join(filter(None, clauses))}.")
    return sentences


def ranking(results: Results) -> list[str]:
    """Return the methods of unlearning that were attacked, the nearest to gold first."""
    found = {method: results.mean(method, AREA) for method in results.contenders}
    known = {method: mean.value for method, mean in found.items() if mean.seeds}
    return sorted(known, key=known.__getitem__)


def listed(words: Sequence[str]) -> str:
    """Return words as a list in a sentence: a, b and c."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def with_interval(mean: Estimate, form: str) -> str:
    """Return an estimate for a sentence: 12% (8% to 16%)."""
    within = f" ({mean.low:z{form}} to {mean.high:z{form}})" if mean.known else ""
    return f"{mean.value:z{form}}{within}"


def with_sign(change: Estimate, form: str) -> str:
    """Return a change for a sentence: +12% (8% to 16%)."""
    return f"{'+' if change.value >= 0 else ''}{with_interval(change, form)}"


def _areas(results: Results, methods: Sequence[str]) -> str:
    """Return the distances of curves from gold's, relative to the unrouted model's if known."""
    if results.values(methods[0], SHARE):
        start = f"of the area between the relearning curves of {BASE} and {GOLD}, "
        measures = [(SHARE, ".0%", "in loss"), (f"{SHARE}_facts", ".0%", "in facts")]
    else:
        start = f"of the area between its relearning curve and that of {GOLD}, "
        facts = (f"{AREA}_facts", ".2f", "shares of facts times steps")
        measures = [(AREA, ".2f", "nats times steps"), facts]
    clauses = []
    for method in methods:
        means = [(results.mean(method, measure), form, unit) for measure, form, unit in measures]
        known = [f"{with_interval(mean, form)} {unit}" for mean, form, unit in means if mean.seeds]
        clauses.append(f"{method} leaves {listed(known)}")
    return start + ", ".join(clauses)


def _cost(results: Results, methods: Sequence[str]) -> str:
    """Return the retain losses of methods relative to that of the reference that was run."""
    reference = BASE if results.values(BASE, RETAINED) else GOLD
    of_reference = results.values(reference, RETAINED)
    clauses = []
    for method in methods:
        change = relative_change_by_seed(results.values(method, RETAINED), of_reference)
        if change.seeds:
            clauses.append(f"{with_sign(change, '.1%')} for {method}")
    return f"retain loss relative to {reference}: {listed(clauses)}" if clauses else ""


def labels_verdict(results: Results) -> str:
    """Return at which label recalls which method leads all others in robust unlearning.

    A method leads if the interval over shared seeds of its difference to each other method excludes
    zero.
    """
    recalls: dict[str | None, list[str]] = {}
    for recall in results.recalls:
        recalls.setdefault(_leader(results, recall), []).append(f"{recall:g}")
    undecided = recalls.pop(None, [])
    clauses = [f"{method} leads at {listed(at)}" for method, at in recalls.items()]
    clauses += [f"no method leads significantly at {listed(undecided)}"] if undecided else []
    return f"In robust unlearning, by label recall: {'; '.join(clauses)}."


def _leader(results: Results, recall: float) -> str | None:
    methods = [method for method in results.methods if method not in REFERENCES]
    found = {method: results.values(method, ROBUST, recall) for method in methods}
    found = {method: values for method, values in found.items() if values}
    if len(found) < 2:
        return None
    best = max(found, key=lambda method: estimate(list(found[method].values())).value)
    leads = [difference_by_seed(found[best], found[other]) for other in found if other != best]
    return best if all(map(is_significant, leads)) else None
