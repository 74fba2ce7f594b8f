"""The card of an unlearned model: what was removed, how, at what cost, and what withstood whom.

It is read off results alone, the run's own and those of the references of the same seed, and says
`unknown` where one of these was not run.
"""

from collections.abc import Mapping, Sequence
from math import isnan

from lm.attacks.results import FACTS, LOSS
from lm.config import StudyConfig
from lm.methods import SUMMARIES
from lm.report import BASE, GOLD, MARGINS, Result, number, withstood

FIGURES = {
    "forget loss, nats per token": ("forget_loss", ".3f"),
    "forget facts known": ("mcq_forget", ".0%"),
    "adjacent loss, nats per token": ("adjacent_loss", ".3f"),
    "retain loss, nats per token": ("retain_loss", ".3f"),
    "retain facts known": ("mcq_retain", ".0%"),
}
"""Headings, measures and forms of what is told of a model before it is attacked."""

FORMS = {FACTS: ".0%", LOSS: ".3f"}
"""Of the figures of attacks: shares, and nats per token."""
ANSWERS = {True: "yes", False: "**no**", None: "unknown, since gold was not run"}

Cells = Sequence[str]


def card(study: StudyConfig, result: Result, results: Sequence[Result]) -> str:
    """Return the card of a run's model as Markdown, as model hubs show it.

    Args:
        study: the settings of all runs.
        result: of the run.
        results: of those runs that it may be compared with, of whatever seed.
    """
    beside = {each["method"]: each for each in results if each["seed"] == result["seed"]}
    parts = [
        _front(study),
        f"# {result['method']}, seed {result['seed']}: a model that is to have forgotten "
        f"{study.what}",
        "## What was removed, and how",
        _how(study, result),
        "## What is left, and the cost",
        _table(_figures(result, beside)),
        _cost(result, beside.get(BASE)),
        "## Attacks",
        _attacks(study, result, beside.get(GOLD)),
        "## How far to trust this",
        "One seed of one study, on held-out text of the same kind. An attack that is not listed "
        "was not tried. Models of the study, side by side and over its seeds: `summary.json`.",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _front(study: StudyConfig) -> str:
    """Return the front matter that hubs read."""
    own = ["tags:", "- unlearning", "- gradient-routing"]
    based = [] if study.model is None else [f"base_model: {study.model}"]
    return "\n".join(["---", *based, *own, "---"])


def _how(study: StudyConfig, result: Result) -> str:
    base = f"a new model of size {study.size}" if study.model is None else study.model
    recall = result.get("label_recall", study.label_recall)
    return (
        f"{SUMMARIES[result['method']]} It began with {base}, took {study.loop.steps} steps of "
        f"{study.batch_size} texts, and was told of {recall:.0%} of the texts to forget "
        f"(precision {study.label_precision:.0%})."
    )


def _figures(result: Result, beside: Mapping[str, Result]) -> list[Cells]:
    """Return the rows of what was measured of the run, the heading first."""
    references = [name for name in (GOLD, BASE) if name != result["method"]]
    rows: list[Cells] = [("", "as trained", "this model", *references)]
    for heading, (measure, form) in FIGURES.items():
        if measure not in result:  # documents ask for no facts
            continue
        own = [number(result, f"{measure}.{stage}") for stage in ("before", "repaired")]
        others = [number(beside.get(name, {}), f"{measure}.repaired") for name in references]
        rows.append((heading, *(_shown(value, form) for value in (*own, *others))))
    return rows


def _cost(result: Result, base: Result | None) -> str:
    """Return what it cost in retain loss and in time."""
    own, theirs = (number(each or {}, "retain_loss.repaired") for each in (result, base))
    change = (
        "unknown, since unrouted was not run" if isnan(own / theirs) else f"{own / theirs - 1:+.1%}"
    )
    seconds = number(result, "wall_seconds")
    return f"Retain loss beside the unrouted model: {change}. Time of the run: {seconds:.0f} s."


def _attacks(study: StudyConfig, result: Result, gold: Result | None) -> str:
    """Return what the worst setting of each attack got, and whether the model withstood it."""
    if result["method"] == GOLD:
        return "This is gold, which the other models are compared with."
    rows: list[Cells] = [("attack", "figure", "worst", "of gold", "withstood")]
    for each in withstood([result, *([] if gold is None else [gold])]):
        if each.method == result["method"]:
            form = FORMS[each.figure]
            got = (_shown(mean.value, form) for mean in (each.worst, each.gold))
            rows.append((each.attack, each.figure, *got, ANSWERS[each.withstood]))
    rates = ", ".join(f"{rate:g}" for rate in study.attack.learning_rates)
    counts = ", ".join(map(str, study.attack.num_examples))
    return (
        f"{_table(rows)}\n\nThe worst setting of each attack on this one model. It is withstood if "
        f"it gets at most {MARGINS[FACTS]:.0%} of the facts, or {MARGINS[LOSS]:g} nats of loss, "
        "more than out of gold, which never saw what is to be forgotten. Steps of relearning: "
        f"{study.attack.steps}, at learning rates {rates}, on {counts} texts."
    )


def _shown(value: float, form: str) -> str:
    return "unknown" if isnan(value) else f"{value:{form}}"


def _table(rows: Sequence[Cells]) -> str:
    """Return rows as a Markdown table, the first of them its heading."""
    heading, *others = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([heading, "|" + " --- |" * len(rows[0]), *others])
