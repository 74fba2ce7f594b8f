"""A study's folder, read: its rows, its runs, and by name all that is missing or damaged.

One row of a study's results: what one run scored at the checkpoint that one rule chose.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isinf, nan
from pathlib import Path
from typing import Any

from oversight.rl.result_files import ABOUT, ROWS, read_csv
from oversight.runs.folder import RunFolder, read_json

RULES = ("last", "observed", "oracle_selection")
"""How the checkpoint was chosen: the last one, by observed episodes, or by the hidden truth."""

ALL, OBSERVED, UNOBSERVED = "true_return", "true_return_observed", "true_return_unobserved"
FLAG_FLIP_GAP = "flag_flip_gap"
MAIN = "default"
"""The variation in which nothing is changed."""
SCORES = (ALL, OBSERVED, UNOBSERVED, FLAG_FLIP_GAP)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A row of the results.

    Attributes:
        run: name of the run and, below `runs/`, of its folder.
        variation: what sets this part of the study apart, such as a hidden flag.
        level: the oversight probability.
        rule: how the checkpoint was chosen, one of `RULES`.
        step: environment steps at that checkpoint.
        scores: what `SCORES` names; NaN where it was not measured.
        observed_episodes: episodes whose reward the learner saw; NaN where unknown.
        commit: source of the run, empty where unknown.
        cells: all that the row says, as it was read.
    """

    run: str
    method: str
    variation: str
    level: float
    seed: int
    rule: str
    step: float
    scores: Mapping[str, float]
    observed_episodes: float
    env_steps: float
    wall_seconds: float
    commit: str
    cells: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


def parse_row(data: Mapping[str, Any]) -> Row:
    """Return a row from the cells of one, which may be text or numbers.

    Raises:
        ValueError: if a cell that says what the row is about is missing or damaged.
    """
    rule = _word(data, "rule")
    if rule not in RULES:
        raise ValueError(f"rule is {rule!r}, allowed are {', '.join(RULES)}")
    level, seed = _number(data, "oversight_probability"), _number(data, "seed")
    if not 0 <= level <= 1:  # false for NaN as well
        raise ValueError(f"oversight_probability is {level}, a number from 0 to 1 is needed")
    if seed != seed // 1:
        raise ValueError(f"seed is {seed}, a whole number is needed")
    return Row(
        run=_word(data, "run"),
        method=_word(data, "method"),
        variation=str(data.get("variation") or MAIN),
        level=level,
        seed=int(seed),
        rule=rule,
        step=_number(data, "step"),
        scores={name: _number(data, name) for name in SCORES},
        observed_episodes=_number(data, "observed_episodes"),
        env_steps=_number(data, "env_steps"),
        wall_seconds=_number(data, "wall_seconds"),
        commit=str(data.get("commit") or ""),
        cells=data,
    )


def _word(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} is {value!r}, a word is needed")
    return value


def _number(data: Mapping[str, Any], name: str) -> float:
    """Return a number, NaN for an empty cell."""
    value = data.get(name)
    if value is None or value == "":
        return nan
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {value!r}, a number is needed") from None
    if isinf(number):
        raise ValueError(f"{name} is {value!r}, a finite number is needed")
    return number


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """What a folder holds.

    Attributes:
        name: of the study.
        folder: where it lies.
        rows: one for each run and rule, in the study's order.
        problems: what was missing or damaged, a sentence each.
        declared: how many runs the study has, finished or not; None where nobody said.
    """

    name: str
    folder: Path
    rows: tuple[Row, ...]
    problems: tuple[str, ...]
    declared: int | None

    def run(self, name: str) -> RunFolder:
        """Return the folder of a run."""
        return RunFolder(self.folder / "runs" / name)

    @property
    def runs(self) -> tuple[str, ...]:
        """The names of the runs that have rows."""
        return tuple(dict.fromkeys(row.run for row in self.rows))

    @property
    def main(self) -> str:
        """The variation that the others are set against: the default, or the study's first."""
        names = [row.variation for row in self.rows]
        return MAIN if MAIN in names else names[0]


def read_study(folder: Path) -> Study:
    """Read a study's results, and fill what they lack from the summaries of its runs.

    Raises:
        ValueError: if there is no such folder, or not one row in it.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder: give the folder of a study")
    problems: list[str] = []
    results = _exported(folder, problems) or _results(folder, problems)
    rows = _unique(_parsed(results.get("rows"), "results", problems), problems)
    stored = {row.run for row in rows}
    for path in sorted((folder / "runs").glob("*/")):
        found = _summary_rows(RunFolder(path), problems)
        rows += [] if path.name in stored else found
    if not rows:
        reasons = f": {'; '.join(problems)}" if problems else ""
        raise ValueError(f"{folder} holds no results to report{reasons}")
    known = {row.run for row in rows}
    problems += _announced(results, known) + _missing_rules(rows)
    problems += [] if "missing" in results else _odd_seeds(rows)  # else the study knows itself
    declared = results.get("runs")
    return Study(
        name=str(results.get("study") or folder.resolve().name),
        folder=folder,
        rows=tuple(rows),
        problems=tuple(dict.fromkeys(problems)),
        declared=declared if isinstance(declared, int) else None,
    )


def _exported(folder: Path, problems: list[str]) -> dict[str, Any]:
    """Return what an export says, with the problems that it was made with; nothing of others."""
    if not (folder / ABOUT).exists():
        return {}
    try:
        about = read_json(folder / ABOUT)
        rows = read_csv(folder / ROWS)
    except ValueError as error:
        problems.append(str(error))
        return {}
    told = about.get("problems")
    problems += map(str, told if isinstance(told, list) else [])
    return {"missing": [], **about, "rows": rows}


def _results(folder: Path, problems: list[str]) -> dict[str, Any]:
    """Return the results file, the table in its place if it is damaged, or nothing."""
    path, table = folder / "results.json", folder / ROWS
    try:
        return read_json(path)
    except ValueError as error:
        if path.exists():
            problems.append(str(error))
    try:
        rows = read_csv(table)
    except ValueError:
        problems.append(
            f"{folder} has no readable results.json: rows were taken from the runs' summaries"
        )
        return {}
    problems.append(f"{folder} has no readable results.json: rows were taken from {table.name}")
    return {"rows": rows, "study": rows[0].get("study") if rows else None}


def _parsed(data: object, source: str, problems: list[str]) -> list[Row]:
    rows = []
    for number, cells in enumerate(data if isinstance(data, list) else [], start=1):
        try:
            if not isinstance(cells, Mapping):
                raise ValueError(f"it is {type(cells).__name__}, not an object")
            rows.append(parse_row(cells))
        except ValueError as error:
            run = cells.get("run") if isinstance(cells, Mapping) else None
            problems.append(f"{source}: row {number} ({run or 'unnamed'}) was left out: {error}")
    return rows


def _unique(rows: Iterable[Row], problems: list[str]) -> list[Row]:
    """Keep the last of the rows that say the same thing twice."""
    kept: dict[tuple[object, ...], Row] = {}
    for row in rows:
        key = (row.variation, row.method, row.level, row.seed, row.rule)
        if key in kept:
            problems.append(f"{row.run}: two rows of rule {row.rule}, the later one counts")
        kept[key] = row
    return list(kept.values())


def _summary_rows(run: RunFolder, problems: list[str]) -> list[Row]:
    """Return the rows of a finished run, or say what is wrong with it."""
    name = run.path.name
    if not run.summary.exists():
        problems.append(f"{name} is not finished: it has no summary.json")
        return []
    try:
        summary = json.loads(run.summary.read_text(encoding="utf-8"))
        selection = {"last": {}, **summary.get("selection", {})}
        deployed = summary["eval"]["deployed"]
        rules = [rule for rule in RULES if rule in selection]
        if summary.get("interrupted"):
            problems.append(f"{name} is not finished: it was interrupted")
            return []
        rows = [{**summary, **deployed, **selection[rule], "rule": rule} for rule in rules]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        problems.append(f"{name}: summary.json is damaged ({type(error).__name__}: {error})")
        return []
    common = {"run": name, "variation": _variation(name, str(summary.get("method")))}
    return _parsed([{**row, **common, **_spent(row)} for row in rows], name, problems)


def _variation(run: str, method: str) -> str:
    """Return what a run's name has between its method and its level.

    >>> _variation("naive-hidden-p0.1-seed3", "naive"), _variation("naive-p0.1-seed3", "naive")
    ('hidden', 'default')
    """
    return run.removeprefix(f"{method}-").rpartition("-p")[0] or "default"


def _spent(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the observed episodes of a row: those for choosing count where they chose."""
    used, held_out = row.get("observed_episodes"), row.get("held_out_episodes")
    if row["rule"] != "observed" or not isinstance(used, int) or not isinstance(held_out, int):
        return {"observed_episodes": used}
    return {"observed_episodes": used + held_out}


def _announced(results: Mapping[str, Any], known: set[str]) -> list[str]:
    """Return what the sweep itself says is missing or failed."""
    failed = {
        str(each.get("run")): str(each.get("error"))
        for each in results.get("failed") or []
        if isinstance(each, Mapping)
    }
    told = [f"{run} failed: {error}" for run, error in failed.items()]
    names = [str(run) for run in results.get("missing") or []]
    missing = [run for run in names if run not in known | set(failed)]
    if len(missing) < 2:
        return told + [f"{run} is missing" for run in missing]
    seeds: dict[str, list[int]] = {}
    for run in missing:
        cell, _, seed = run.rpartition("-seed")
        seeds.setdefault(cell, []).append(int(seed) if seed.isdecimal() else 0)
    cells = ", ".join(f"{cell} (seeds {ranges(found)})" for cell, found in seeds.items())
    return [*told, f"{len(missing)} runs are missing: {cells}"]


def _missing_rules(rows: Iterable[Row]) -> list[str]:
    rules: dict[str, set[str]] = {}
    for row in rows:
        rules.setdefault(row.run, set()).add(row.rule)
    every = set().union(*rules.values())
    lacking = {run: [rule for rule in RULES if rule in every - has] for run, has in rules.items()}
    return [f"{run} has no row of rule {', '.join(lack)}" for run, lack in lacking.items() if lack]


def _odd_seeds(rows: Iterable[Row]) -> list[str]:
    """Return the cells that lack a seed which every other method has at their level."""
    cells: dict[tuple[str, float], dict[str, set[int]]] = {}
    for row in rows:
        seeds = cells.setdefault((row.variation, row.level), {})
        seeds.setdefault(row.method, set()).add(row.seed)
    return [
        f"{method} at p = {level:g}{f' ({variation})' if variation != 'default' else ''} "
        f"lacks seed {', '.join(map(str, sorted(lack)))}, which every other method has"
        for (variation, level), methods in cells.items()
        if len(methods) > 1
        for method, seeds in methods.items()
        if (lack := _of_others(methods, method) - seeds)
    ]


def _of_others(methods: Mapping[str, set[int]], method: str) -> set[int]:
    return set.intersection(*(seeds for name, seeds in methods.items() if name != method))


def ranges(numbers: Iterable[int]) -> str:
    """Return whole numbers in short.

    >>> ranges([0, 1, 2, 5])
    '0-2, 5'
    """
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(f"{a}-{b}" if a < b else f"{a}" for a, b in spans) or "-"
