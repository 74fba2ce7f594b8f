"""The report of a study: the results of all runs, tables with intervals, and a verdict."""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite, nan
from typing import Any

from rich.table import Table

from oversight.representations.config import RunConfig, StudyConfig
from oversight.representations.evaluation import ALL, FULL, MEASURES, certificate_name
from oversight.runs.console import formatter, plain_table
from oversight.runs.statistics import Estimate, estimate, relative_change_by_seed

Record = Mapping[str, Any]
"""The result of one run, with the name of its `setting`."""

value_cell, ratio_cell = formatter(".3f", ".3f"), formatter(".2f", ".2f")
WORDS = {
    "mse": "MSE",
    "mae": "MAE",
    "accuracy": "accuracy",
    "cross_entropy": "cross-entropy",
}
"""The measures as tables call them."""


class Results:
    """The results of runs, by setting and seed.

    Attributes:
        records: the results.
        settings: the settings of the runs by name, in the order of tables.
    """

    def __init__(self, records: Sequence[Record], settings: Mapping[str, RunConfig]) -> None:
        self.records, self.settings = tuple(records), dict(settings)

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that were run with the settings of the study itself, by which they are named.

        >>> Results([], {"routed": RunConfig(), "routed-recall0.5": RunConfig()}).methods
        ('routed',)
        """
        return tuple(name for name in self.settings if name in ("routed", "unrouted", "shuffled"))

    def values(self, setting: str, *path: str) -> dict[int, float]:
        """Return a figure of each run of a setting by seed, without those that are not finite.

        Args:
            setting: name of the setting.
            path: keys that lead to the figure, such as `summary`, `ratio`, `least`.
        """
        found = {
            int(record["seed"]): _figure(record, path)
            for record in self.records
            if record["setting"] == setting
        }
        return {seed: value for seed, value in sorted(found.items()) if isfinite(value)}

    def mean(self, setting: str, *path: str) -> Estimate:
        """Return the interquartile mean of a figure over seeds."""
        return estimate(list(self.values(setting, *path).values()))


def _figure(record: Record, path: Sequence[str]) -> float:
    value: Any = record
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return nan if value is None else float(value)


Columns = Mapping[str, Callable[[str], str]]
"""The cell of a setting, by the heading of its column."""


def tables(study: StudyConfig, results: Results, source: str) -> list[Table]:
    """Return the tables of a study: one of all settings, and one of all decoders of each method.

    Args:
        study: settings of the study.
        results: results of finished runs.
        source: the data in words, for titles.
    """
    if not results.records:
        return []
    found = [summary_table(study, results, source)]
    return found if study.sweep != "none" else [*found, decoders_table(study, results, source)]


def summary_table(study: StudyConfig, results: Results, source: str) -> Table:
    """Return a row for each setting: errors of decoder and certificates, and their ratios."""
    run = study.run
    word = WORDS[MEASURES[run.task][0]]

    def cell(*path: str) -> Callable[[str], str]:
        form = ratio_cell if "ratio" in path else value_cell
        return lambda setting: form(results.mean(setting, "summary", *path))

    groups = run.group_names if run.parts == 2 else ()
    columns: dict[str, Callable[[str], str]] = {
        "whole\ncode": cell(FULL),
        "wrong\npart": cell("wrong"),
        "right\npart": cell("right"),
        **{f"ratio\n{group}": cell("ratio", group) for group in groups},
        f"{'largest' if run.task == 'classify' else 'least'}\nratio": cell("ratio", "least"),
    }
    table = _filled(f"{word} on test images, {source}", "setting", columns, results.settings)
    table.caption = (
        f"{word} of the decoder of the whole code, and of certificates that read the part of other "
        f"classes or of the right ones; ratio: wrong / right, by group. {over_seeds(study)}"
    )
    return table


def _filled(title: str, names: str, columns: Columns, rows: Mapping[str, object]) -> Table:
    table = plain_table(title, names, list(columns))
    for row in rows:
        table.add_row(row, *(cell(row) for cell in columns.values()))
    return table


def decoders_table(study: StudyConfig, results: Results, source: str) -> Table:
    """Return a row for each decoder and certificate of each method, on each group or on two sides.

    With two parts the columns are the groups; with more of them, each certificate has its own group
    and the mean of the others.
    """
    run, measures = study.run, MEASURES[study.run.task]
    sides = run.group_names if run.parts == 2 else ("own", "others")
    heads = [f"{WORDS[name]}\n{side}" for name in measures for side in sides]
    table = plain_table(f"each decoder, {source}", "method: decoder", heads)
    certificates = {certificate_name(group): group for group in run.group_names}
    for method in results.methods:
        for name in (FULL, *certificates):
            path = ("decoders", name)
            own = certificates.get(name, ALL)
            cells = _decoder_cells(results, method, path, run, own)
            table.add_row(f"{method}: {name}", *cells)
    for name in results.records[0]["uninformed"]:
        first = results.methods[0]
        cells = _decoder_cells(results, first, ("uninformed", name), run, ALL)
        table.add_row(f"the {name}", *cells)
    table.caption = f"A certificate is named after the group of its part. {over_seeds(study)}"
    return table


def _decoder_cells(
    results: Results, setting: str, path: tuple[str, str], run: RunConfig, own: str
) -> list[str]:
    cells = []
    for name in MEASURES[run.task]:
        if run.parts == 2:
            means = [results.mean(setting, *path, name, group) for group in run.group_names]
            cells += [value_cell(mean) for mean in means]
            continue
        others = [group for group in run.group_names if group != own]
        by_seed = [results.values(setting, *path, name, group) for group in others]
        means_of_others = [
            sum(values[seed] for values in by_seed) / len(others) for seed in by_seed[0]
        ]
        cells.append(value_cell(results.mean(setting, *path, name, own)))
        cells.append("" if own == ALL else value_cell(estimate(means_of_others)))
    return cells


def table2(source: str, results: Results, printed: Mapping[str, tuple[float, float]]) -> Table:
    """Return the paper's Table 2: errors of the certificate of the last part on both groups.

    The paper calls that part the bottom half. Its figures are mean squared errors (see
    `oversight.representations.evaluation`).

    Args:
        source: the data in words.
        results: results of finished runs.
        printed: the figures of the paper for the two groups, by setting.
    """

    def cell(measure: str, group: int) -> Callable[[str], str]:
        def of(setting: str) -> str:
            names = results.settings[setting].group_names
            path = ("decoders", certificate_name(names[-1]), measure, names[group])
            return value_cell(results.mean(setting, *path))

        return of

    columns: Columns = {
        "MSE\n0-4": cell("mse", 0),
        "paper\n0-4": lambda name: f"{printed[name][0]:.2f}",
        "MSE\n5-9": cell("mse", 1),
        "paper\n5-9": lambda name: f"{printed[name][1]:.2f}",
        "MAE\n0-4": cell("mae", 0),
        "MAE\n5-9": cell("mae", 1),
        "MSE whole\ncode": lambda name: value_cell(results.mean(name, "summary", FULL)),
    }
    title = f"Table 2: certificate of the part of 5-9, {source}"
    table = _filled(title, "setting", columns, results.settings)
    table.caption = "paper: Cloud et al. 2024, 20 runs on 60,000 digits of MNIST"
    return table


def over_seeds(study: StudyConfig) -> str:
    """Return how the figures of a table summarize seeds, as the end of its caption."""
    if len(study.seeds) > 1:
        return "Interquartile means over seeds, and half of their 95% intervals"
    return "One seed: --seeds 0 1 2 3 4 adds intervals"


def verdict(results: Results) -> str:
    """Return how much worse the wrong part serves with each method, and what routing costs."""
    sentences = []
    for method in results.methods:
        run = results.settings[method]
        name = MEASURES[run.task][0]
        ratios = {
            group: results.mean(method, "summary", "ratio", group) for group in run.group_names
        }
        listed = ", ".join(f"{group} {each.value:.2f}" for group, each in ratios.items())
        sentences.append(
            f"{method}: {WORDS[name]} of certificates of the wrong part is {listed} times that of "
            "the right part."
        )
    if {"routed", "unrouted"} <= set(results.methods):
        ours, other = (results.values(each, "summary", FULL) for each in ("routed", "unrouted"))
        change = relative_change_by_seed(ours, other)
        word = WORDS[MEASURES[results.settings["routed"].task][0]]
        sentences.append(
            f"Routing changes the {word} of the decoder of the whole code by {change.value:+.0%}."
        )
    return " ".join(sentences)
