"""The report of capability profiles: compute ratios, a table of all methods, and a verdict.

A profile is measured in three parts: the core, the topics that it keeps (retain) and those that it
must not have (forget). Parts are means over topics, then over the profiles of the same size (no
module on, one, or all), and at last over seeds.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isnan, nan
from typing import Any, NamedTuple

import pandas as pd
from rich.table import Table

from lm.compute_ratio import CAP, LossCurve, fit_curve
from lm.evaluation.topic_exam import CORE
from lm.methods import BASE, KEEPS, METHODS
from lm.report import facts_known, nats
from lm.results import Result, Results
from oversight.runs.console import Format, formatter, plain_table
from oversight.runs.statistics import Estimate, difference_by_seed, estimate

NO_MODULE, ONE, SOME, ALL = "none", "one", "some", "all"
SIZES = (NO_MODULE, ONE, ALL)
"""The sizes of profiles in the table; the others are in the figure."""
RETAIN, FORGET = "retain", "forget"
PARTS = (CORE, RETAIN, FORGET)
"""The parts of a profile."""
LOSS, RATIO, FACTS = "loss", "compute_ratio", "facts"
ELICITED, ELICITED_FACTS, LOCALIZED = "elicited_loss", "elicited_facts", "localized"
ratios = formatter(".2f", ".2f")
COLUMNS: Mapping[str, tuple[str, Format]] = {
    "loss": (LOSS, nats),
    "compute\nratio": (RATIO, ratios),
    "facts": (FACTS, facts_known),
    "elicited\nloss": (ELICITED, nats),
    "elicited\nfacts": (ELICITED_FACTS, facts_known),
    "localized": (LOCALIZED, facts_known),
}
"""Measures and their formats, by the headings of columns."""

Curves = Mapping[str, LossCurve]
"""The curves of the baseline by section; empty if there are none."""


def with_compute_ratios(results: Sequence[Result]) -> list[Result]:
    """Return results whose profiles have the compute ratio of each topic, NaN where unknown.

    The baseline of a result is the run of `unrouted` with the same seed.
    """
    curves = {
        each["seed"]: baseline_curves(each["validation"])
        for each in results
        if each["method"] == BASE and "validation" in each
    }
    return [
        {**each, "profiles": _with_ratios(each["profiles"], curves.get(each["seed"], {}))}
        if "profiles" in each
        else each
        for each in results
    ]


def baseline_curves(validation: Mapping[str, Iterable[Sequence[float]]]) -> Curves:
    """Return the fitted curves of a baseline by section, without those that cannot be fitted."""
    found = {}
    for section, points in validation.items():
        try:
            found[section] = fit_curve({int(step): loss for step, loss in points})
        except (ValueError, TypeError):  # too few points, or null for a loss that is not finite
            continue
    return found


def _with_ratios(profiles: Sequence[Mapping[str, Any]], curves: Curves) -> list[dict[str, Any]]:
    def ratio(section: str, loss: float | None) -> float:
        known = section in curves and loss is not None
        return curves[section].ratio(float(loss)).value if known and loss is not None else nan

    return [
        {
            **profile,
            "topics": {
                topic: {**figures, RATIO: ratio(topic, figures[LOSS])}
                for topic, figures in profile["topics"].items()
            },
        }
        for profile in profiles
    ]


def group_of(method: str) -> str:
    """Return the method to whose table a run belongs: one that is trained once per profile.

    >>> group_of("filtered+forest")
    'filtered'
    """
    return method.partition(KEEPS)[0]


def size_of(profile: Mapping[str, Any]) -> str:
    """Return whether a profile keeps no topic to forget, one, some or all of them."""
    kept, everything = len(profile["kept"]), len(profile["topics"]) - 1
    return {0: NO_MODULE, 1: ONE, everything: ALL}.get(kept, SOME)


class Key(NamedTuple):
    """What a value of the report is of."""

    method: str
    size: str
    part: str
    measure: str


class Profiles:
    """The profiles of finished runs, as values by seed.

    Attributes:
        methods: names of the methods with profiles, each of those trained once per profile once.
        topics: the topics to forget.
    """

    def __init__(self, results: Results) -> None:
        self.records = [each for each in results.records if each.get("profiles")]
        ran = [group_of(each["method"]) for each in self.records]
        known = [*METHODS, *ran]  # in the order of the registry
        self.methods = tuple(dict.fromkeys(method for method in known if method in ran))
        first = self.records[0]["profiles"][0]["topics"] if self.records else {}
        self.topics = tuple(topic for topic in first if topic != CORE)
        self.over_seeds = results.over_seeds if self.records else ""
        rows = [row for record in self.records for row in _rows(record)]
        self.frame = pd.DataFrame(rows, columns=[*Key._fields, "seed", "value"])

    def values(self, key: Key) -> dict[int, float]:
        """Return the mean over topics and profiles of a measure by seed."""
        frame = self.frame
        for name, wanted in key._asdict().items():
            frame = frame[frame[name] == wanted]
        means = frame.groupby("seed")["value"].mean().dropna()
        return {int(seed): float(value) for seed, value in means.items()}

    def mean(self, method: str, size: str, part: str, measure: str) -> Estimate:
        """Return the interquartile mean of a measure over seeds."""
        return estimate(list(self.values(Key(method, size, part, measure)).values()))

    def cells(self, method: str, measure: str) -> dict[tuple[str, ...], dict[str, Estimate]]:
        """Return the mean over seeds of a measure by the topics of a profile and by topic."""
        found: dict[tuple[str, ...], dict[str, list[float]]] = {}
        for record in self.records:
            for profile in record["profiles"] if group_of(record["method"]) == method else ():
                row = found.setdefault(tuple(profile["kept"]), {})
                for topic, figures in profile["topics"].items():
                    row.setdefault(topic, []).append(_number(figures.get(measure)))
        return {
            kept: {topic: estimate(values) for topic, values in row.items()}
            for kept, row in sorted(found.items(), key=lambda item: len(item[0]))
        }

    @property
    def pictured(self) -> tuple[str, ...]:
        """The methods whose compute ratios are known, without the baseline of these."""
        ratios = self.frame[self.frame["measure"] == RATIO].dropna()["method"].unique()
        return tuple(each for each in self.methods if each in ratios and each != BASE)

    @property
    def capped(self) -> int:
        """The number of compute ratios that are cut at `CAP`."""
        figures = (
            f for each in self.records for p in each["profiles"] for f in p["topics"].values()
        )
        return sum(_number(each.get(RATIO)) >= CAP for each in figures)

    @property
    def untaught(self) -> dict[str, set[str]]:
        """The modules, by method, that change no loss where they are on: no text taught them."""
        found: dict[str, set[str]] = {}
        for record in self.records:
            for module in untaught_modules(record["profiles"]):
                found.setdefault(record["method"], set()).add(module)
        return found


def _rows(record: Result) -> Iterator[tuple[Any, ...]]:
    """Yield method, size, part, measure, seed and value of all figures of a result."""
    for profile in record["profiles"]:
        for topic, figures in profile["topics"].items():
            part = CORE if topic == CORE else RETAIN if topic in profile["kept"] else FORGET
            for measure, value in figures.items():
                key = Key(group_of(record["method"]), size_of(profile), part, measure)
                yield (*key, record["seed"], _number(value))


def _number(value: float | None) -> float:
    return nan if value is None else float(value)


def untaught_modules(profiles: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the modules that, on alone, leave every loss as it is without modules, to the bit."""

    def losses(profile: Mapping[str, Any]) -> list[float]:
        return [figures[LOSS] for figures in profile["topics"].values()]

    none = [losses(profile) for profile in profiles if not profile["on"]]
    alone = [profile for profile in profiles if len(profile["on"]) == 1]
    return tuple(profile["on"][0] for profile in alone if none and losses(profile) == none[0])


def profiles_table(title: str, profiles: Profiles) -> Table:
    """Return a row for each method, size of profile and part: means over seeds, with intervals."""
    shown = {
        heading: (measure, form)
        for heading, (measure, form) in COLUMNS.items()
        if (profiles.frame["measure"] == measure).any()
    }
    table = plain_table(title, "method", ["on", "part", *shown])
    for method in profiles.methods:
        name = method
        for size in SIZES:
            for part in PARTS:
                means = [
                    (form, profiles.mean(method, size, part, measure))
                    for measure, form in shown.values()
                ]
                if any(mean.seeds for _, mean in means):
                    table.add_row(name, size, part, *(form(mean) for form, mean in means))
                    name = ""
        table.add_section()
    table.caption = _caption(profiles)
    return table


def _caption(profiles: Profiles) -> str:
    """Return what the columns mean, and warnings about single profiles."""
    sentences = [
        "on: no module, one (mean over all), or all, which methods without modules have by their "
        "training. retain: mean over the topics that a profile keeps; forget: over the others; "
        "core: all other topics. Losses in nats per token; facts by multiple choice, 25% by "
        f"guessing; compute ratio: share of the training of {BASE} that is as good",
        *(
            ["localized: share of the loss without the module that lies on the topic's own words"]
            if (profiles.frame["measure"] == LOCALIZED).any()
            else []
        ),
        *([f"{profiles.capped} ratios are cut at {CAP:g}"] if profiles.capped else []),
        profiles.over_seeds,
        *(
            f"Warning: no text taught the module {', '.join(sorted(modules))} of {method}, which "
            "is served as it was made"
            for method, modules in profiles.untaught.items()
        ),
    ]
    return ". ".join(sentences)


def profiles_verdict(profiles: Profiles) -> str:
    """Return what each method keeps and forgets with no module on, with one, and with all.

    Composability is the change of the compute ratio of a topic from its module on alone to all on.
    """
    sentences = [
        _sentence(method, profiles)
        for method in profiles.methods
        if method != BASE and profiles.values(Key(method, NO_MODULE, FORGET, LOSS))
    ]
    return " ".join(sentences) or "There is no verdict on profiles: no method without the topics."


def _sentence(method: str, profiles: Profiles) -> str:
    def ratio(size: str, part: str) -> str:
        return interval(profiles.mean(method, size, part, RATIO), "z.2f")

    def facts(size: str, part: str) -> str:
        return interval(profiles.mean(method, size, part, FACTS), "z.0%")

    clauses = [
        f"with no module on, forget compute ratio {ratio(NO_MODULE, FORGET)} and facts "
        f"{facts(NO_MODULE, FORGET)}, core {ratio(NO_MODULE, CORE)} and {facts(NO_MODULE, CORE)}"
    ]
    if profiles.values(Key(method, ONE, RETAIN, LOSS)):
        clauses.append(
            f"with one on, its topic {ratio(ONE, RETAIN)} and {facts(ONE, RETAIN)}, other topics "
            f"{ratio(ONE, FORGET)} and {facts(ONE, FORGET)}"
        )
    if profiles.values(Key(method, ALL, RETAIN, LOSS)):
        clauses.append(f"with all on, topics {ratio(ALL, RETAIN)} and {facts(ALL, RETAIN)}")
    one, everything = (profiles.values(Key(method, s, RETAIN, RATIO)) for s in (ONE, ALL))
    change = difference_by_seed(everything, one)
    if change.seeds:
        clauses.append(f"composability, all on minus one on: {interval(change, '+z.2f')}")
    clauses += _against_filtering(method, profiles)
    return f"{method}: {'; '.join(clauses)}."


FILTERING = "filtered"
"""The method with which the profile without modules is compared: a training of its own."""


def _against_filtering(method: str, profiles: Profiles) -> list[str]:
    """Return how the profile without modules differs from filtering with the same seeds."""
    if method == FILTERING:
        return []

    def change(part: str, measure: str) -> Estimate:
        values = (profiles.values(Key(m, NO_MODULE, part, measure)) for m in (method, FILTERING))
        return difference_by_seed(*values)

    changes = {
        "core loss": (change(CORE, LOSS), "+z.3f"),
        "core facts": (change(CORE, FACTS), "+z.0%"),
        "forget loss": (change(FORGET, LOSS), "+z.3f"),
        "forget facts": (change(FORGET, FACTS), "+z.0%"),
        "elicited loss": (change(FORGET, ELICITED), "+z.3f"),
    }
    known = [
        f"{name} {interval(mean, form)}" for name, (mean, form) in changes.items() if mean.seeds
    ]
    return [f"no module on minus {FILTERING}: {', '.join(known)}"] if known else []


def interval(mean: Estimate, form: str) -> str:
    """Return an estimate for a sentence: 0.12 (0.08 to 0.16), or `unknown`.

    >>> interval(Estimate(0.12, 0.08, 0.16, 5), ".2f"), interval(Estimate(nan, nan, nan, 0), ".2f")
    ('0.12 (0.08 to 0.16)', 'unknown')
    """
    if isnan(mean.value):
        return "unknown"
    within = f" ({mean.low:{form}} to {mean.high:{form}})" if mean.known else ""
    return f"{mean.value:{form}}{within}"
