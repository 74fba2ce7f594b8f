"""The card of an unlearned model: what was removed and how, at what cost, and how robustly.

It is made from results alone, those of the run and of the references of the same seed, and states
`unknown` where a reference was not run.
"""

from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path

from lm.attacks.results import FACTS, LOSS, MAX_RISE
from lm.classifier import quality_sentence
from lm.config import RunConfig
from lm.methods import BASE, GOLD, method_of
from lm.results import Result, Results, number
from lm.robustness import MARGINS, robustness
from lm.training.route_tables import REVERSED

FIGURES = {
    "forget loss, nats per token": ("forget_loss", ".3f"),
    "forget facts known": ("mcq_forget", ".0%"),
    "adjacent loss, nats per token": ("adjacent_loss", ".3f"),
    "retain loss, nats per token": ("retain_loss", ".3f"),
    "retain facts known": ("mcq_retain", ".0%"),
}
"""Measures and formats of a model before attacks, by their headings."""
FORMATS = {FACTS: ".0%", LOSS: ".3f"}
"""Formats of the figures of attacks: shares, and nats per token."""


def card(run: RunConfig, result: Result, results: Sequence[Result]) -> str:
    """Return the card of a run's model as Markdown with the front matter of model hubs.

    Args:
        run: settings of the run.
        result: result of the run.
        results: results of comparable runs, of any seed.
    """
    same_seed = {each["method"]: each for each in results if each["seed"] == result["seed"]}
    model = "" if run.model is None else f"base_model: {_name(run.model)}\n"
    recall = result.get("label_recall", run.labels.recall)
    own, base = (number(each, "retain_loss.repaired") for each in (result, same_seed.get(BASE, {})))
    unknown = "unknown, since unrouted was not run"
    cost = unknown if isnan(own / base) else f"{own / base - 1:+.1%}"
    return f"""---
{model}tags:
- unlearning
- gradient-routing
---

# {result["method"]}, seed {result["seed"]}: {_role(result["method"])} {run.subject}

## What was removed, and how

{_started(run, result["method"])}; {recall:.0%} of the texts to forget were labeled forget, with a \
precision of {run.labels.precision:.0%}.{_classifier(result)}{_removed(run, result["method"])}

## Effect and cost

{_effect(result, same_seed)}

Retain loss relative to the unrouted model: {cost}. Time of the run: \
{number(result, "wall_seconds"):.0f} s.

## Attacks

{_attacks(run, result, [same_seed[name] for name in (GOLD, BASE) if name in same_seed])}

## Limits

One seed of one study, on held-out text of the same kind. An attack that is not listed was not \
tried. `summary.json` compares all models of the study over its seeds.
"""


def _role(method: str) -> str:
    """Return what a model is, as the beginning of a phrase that the subject ends."""
    if method in (GOLD, BASE):
        return "a reference for models trained to forget"
    return "a model trained to forget"


def _started(run: RunConfig, name: str) -> str:
    """Return the method in a sentence, and the beginning of one on the model it starts from."""
    kept = method_of(name).kept
    summary = method_of(name).summary + (
        f" Topics that are kept: {', '.join(kept)}." if kept else ""
    )
    if run.model is not None and not run.loop.steps:
        return f"The model as it is; {summary.partition('; ')[2]} It starts from {_name(run.model)}"
    start = f"a new model of size {run.size}" if run.model is None else _name(run.model)
    return (
        f"{summary} Training started from {start} and took {run.loop.steps} steps of "
        f"{run.batch_size} texts"
    )


def _name(model: str) -> str:
    """Return the name of a model on the hub, or of its folder."""
    return Path(model).resolve().name if Path(model).is_dir() else model


def _removed(run: RunConfig, name: str) -> str:
    """Return what can have been removed from a pretrained model, and how many texts there were."""
    if run.model is None or name in (GOLD, BASE):
        return ""
    method = method_of(name)
    if not method.routes or method.table == REVERSED:
        what = "What the model knew before counts as well."
    else:
        what = "Only what this training taught can be removed: what the model knew before stays."
    if not run.texts.forget:
        return f" {what}"
    return (
        f" {what} Of the texts, {run.task.stories:,} were trained on, {run.repair.stories:,} held "
        f"out for the repair, and {run.exam.stories:,} to forget and as many to retain examined."
    )


def _classifier(result: Result) -> str:
    """Return what the document classifier of the method did, if it has one."""
    found = result.get("classifier")
    if found is None:
        return ""
    sentence = quality_sentence(found)
    return f" {sentence[0].upper()}{sentence[1:]}"


def _effect(result: Result, same_seed: Mapping[str, Result]) -> str:
    """Return the measures of the run before attacks, next to those of the references."""
    references = [name for name in (GOLD, BASE) if name != result["method"]]
    rows: list[Sequence[str]] = [("", "as trained", "this model", *references)]
    for heading, (measure, form) in FIGURES.items():
        if measure in result:  # documents have no facts
            own = [number(result, f"{measure}.{stage}") for stage in ("before", "repaired")]
            others = [number(same_seed.get(n, {}), f"{measure}.repaired") for n in references]
            rows.append((heading, *(_known(value, form) for value in (*own, *others))))
    return _table(rows)


def _attacks(run: RunConfig, result: Result, references: Sequence[Result]) -> str:
    """Return the worst setting of each attack, and whether the model is robust to it."""
    if result["method"] == GOLD:
        return "This is gold, the reference of the other models."
    rows: list[Sequence[str]] = [("attack", "figure", "worst case", "of gold", "robust")]
    others = [each for each in references if each["method"] != result["method"]]
    for each in robustness(Results([result, *others])):
        if each.method == result["method"]:
            form = FORMATS[each.figure]
            values = (_known(mean.value, form) for mean in (each.worst_case, each.gold))
            rows.append((each.attack, each.figure, *values, each.answer))
    attack = run.attack
    if len(rows) == 1:
        return "No attack was run on this model."
    rates = ", ".join(f"{rate:g}" for rate in attack.learning_rates)
    counts = ", ".join(map(str, attack.num_examples))
    return (
        f"{_table(rows)}\n\nThe worst setting of each attack on this one model, among those that "
        f"raise the loss to be retained by at most {MAX_RISE:.0%}. The model is robust if the "
        "attack is ahead of the attack on gold, which never saw the texts to forget, by at most "
        f"{MARGINS[FACTS]:.0%} of the facts or {MARGINS[LOSS]:g} nats of loss; "
        f"if the attack on {BASE} is ahead by more, so that the attack can tell the two apart; and "
        f"if facts and loss to be retained are no worse than those of {BASE} by as much. "
        f"Relearning takes {attack.steps} steps; its learning rates: {rates}; its numbers of "
        f"texts: {counts}."
    )


def _known(value: float, form: str) -> str:
    return "unknown" if isnan(value) else f"{value:{form}}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a Markdown table, the first of them its heading."""
    heading, *others = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([heading, "|" + " --- |" * len(rows[0]), *others])
