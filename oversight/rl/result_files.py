"""The files of a study's results: one row for each run and selection rule, and all settings.

A sweep writes them and a report reads them; this module imports nothing that trains.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from math import isinf, isnan
from pathlib import Path
from typing import Any, Literal, get_args

Rule = Literal["last", "observed", "oracle_selection"]
"""How a checkpoint is chosen: the last one, by observed episodes, or by the hidden true reward."""
RULES: tuple[Rule, ...] = get_args(Rule)

ROWS, ABOUT, SETTINGS, CURVES = "results.csv", "study.json", "settings.json", "curves.csv"
"""The files of an export, which a study's folder may be too; the second makes it one."""
MODULES, KNOWN = "modules", "known"
"""Folders: of an export's module maps, and of the export that a study's folder took over."""

LOGS, DEPLOYED = "tensorboard", "-deployed"
"""The folder of a run's TensorBoard logs, and how the name of its deployed policy's log ends."""

METRICS = (
    *("true_return", "true_return_observed", "true_return_unobserved", "paper_return"),
    *("diamond_rate", "ghost_rate", "timeout_rate", "flag_flip_gap"),
)
COLUMNS = (
    *("run", "study", "method", "variation", "oversight_probability", "seed", "rule", "step"),
    *METRICS,
    *("observed_episodes", "env_steps", "wall_seconds", "commit"),
)


def is_further_metric(name: str) -> bool:
    """Return whether a column is a metric that only some environments have.

    These are lengths of episodes, shares of them (`success_rate`, or those of named outcomes), and
    further returns (`train_return`).
    """
    return name not in COLUMNS and (
        name.startswith("length") or name.endswith(("_rate", "_return"))
    )


WORDS = ("run", "study", "method", "variation", "rule", "commit")
WHOLE = ("seed", "step", "observed_episodes", "env_steps")
"""The columns that hold text, and those that hold whole numbers; the others hold numbers."""


def deployed_events(run: Path) -> list[Path]:
    """Return the event files of the policy that a run deploys, in the order of their time."""
    return sorted((run / LOGS).glob(f"*/*{DEPLOYED}/events.out.tfevents.*"))


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as comma-separated lines below a header; what is None is an empty cell."""
    text = io.StringIO()
    further = dict.fromkeys(name for row in rows for name in row if is_further_metric(name))
    table = csv.DictWriter(text, [*COLUMNS, *further], lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of such a file, every cell as text.

    Raises:
        ValueError: if it cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read ({type(error).__name__})") from error


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of such a file as they were before they were written.

    Raises:
        ValueError: if a column is missing or a cell is damaged.
    """
    rows = []
    for cells in read_csv(path):
        try:
            if missing := [name for name in COLUMNS if name not in cells]:
                raise ValueError(f"{', '.join(missing)} is missing")
            rows.append(parse_row(cells))
        except ValueError as error:
            raise ValueError(
                f"{path}: the row of {cells.get('run')} is damaged: {error}"
            ) from error
    return rows


def rows_of(summary: Mapping[str, Any], **own: str) -> list[dict[str, Any]]:
    """Return the rows of one run from its summary, one for each selection rule that it has.

    Selection on held-out observed episodes is charged for these episodes.

    Args:
        summary: the results of a run.
        own: the columns that a summary does not have.
    """
    rows = []
    selection = {"last": {}, **summary.get("selection", {})}
    for rule in (each for each in RULES if each in selection):
        row = {**summary, **summary["eval"]["deployed"], **selection[rule], **own, "rule": rule}
        if rule == "observed" and row.get("observed_episodes") is not None:
            row["observed_episodes"] += row.get("held_out_episodes") or 0
        further = {name: value for name, value in row.items() if is_further_metric(name)}
        rows.append({name: row.get(name) for name in COLUMNS} | further)
    return rows


def parse_row(cells: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row from its cells, which may be text or numbers; what is empty is None.

    Raises:
        ValueError: if a cell that identifies the row is missing, or any cell is damaged.
    """
    for name in ("run", "method", "rule"):
        if not isinstance(cells.get(name), str) or not cells[name]:
            raise ValueError(f"{name} is {cells.get(name)!r}, a word is needed")
    if cells["rule"] not in RULES:
        raise ValueError(f"rule is {cells['rule']!r}, allowed are {', '.join(RULES)}")
    row: dict[str, Any] = {
        name: _number(cells, name) if name not in WORDS else _text(cells, name) for name in COLUMNS
    }
    if row["seed"] is None:
        raise ValueError("seed is empty, a whole number is needed")
    level = row["oversight_probability"]
    if level is None or not 0 <= level <= 1:
        raise ValueError(f"oversight_probability is {level}, a number from 0 to 1 is needed")
    further = {name: _number(cells, name) for name in cells if name and is_further_metric(name)}
    return {**row, "variation": row["variation"] or "default", **further}


def _text(cells: Mapping[str, Any], name: str) -> str | None:
    return str(cells[name]) if cells.get(name) else None


def _number(cells: Mapping[str, Any], name: str) -> float | int | None:
    value = cells.get(name)
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {value!r}, a number is needed") from None
    if isinf(number):
        raise ValueError(f"{name} is {value!r}, a finite number is needed")
    if isnan(number):
        return None
    if name not in WHOLE:
        return number
    if number % 1 or abs(number) >= 2**63:  # which tables of whole numbers cannot hold
        raise ValueError(f"{name} is {value!r}, a whole number below 2**63 is needed")
    return int(number)


Settings = Mapping[str, Any]
"""By dotted names, such as `ppo.gamma`."""

VERSIONS = "versions."
"""What the names of versions of packages begin with."""

OWN = ("method", "oversight_probability", "seed", "run_dir", "commit", "format")
"""What is each run's own; the rows of the results say it."""


def pack(settings: Mapping[str, Settings]) -> dict[str, Any]:
    """Return the settings of runs as one object; what a row of results says is left out.

    >>> pack({"a": {"seed": 0, "gamma": 0.5, "noise": 0}, "b": {"gamma": 0.5, "noise": 1}})
    {'shared': {'gamma': 0.5}, 'groups': [{'runs': ['a'], 'own': {'noise': 0}}, \
{'runs': ['b'], 'own': {'noise': 1}}]}
    """
    found = {run: _without_own(each) for run, each in settings.items()}
    texts = {
        run: {name: json.dumps(value) for name, value in each.items()}
        for run, each in found.items()
    }
    shared = set.intersection(*(set(each.items()) for each in texts.values())) if texts else set()
    names = {name for name, _ in shared}
    groups: dict[str, dict[str, Any]] = {}
    for run, each in found.items():
        own = {name: value for name, value in each.items() if name not in names}
        groups.setdefault(json.dumps(own), {"runs": [], "own": own})["runs"].append(run)
    first = next(iter(found.values()), {})
    common = {name: value for name, value in first.items() if name in names}
    return {"shared": common, "groups": list(groups.values())}


def unpack(data: Mapping[str, Any], source: object) -> dict[str, Settings]:
    """Return the settings of each run, from what `pack` made of them.

    Raises:
        ValueError: if it is something else; `source` is named.
    """
    try:
        return {
            str(run): {**data["shared"], **group["own"]}
            for group in data["groups"]
            for run in group["runs"]
        }
    except (KeyError, TypeError) as error:
        raise ValueError(f"{source} does not hold the settings of runs") from error


def differences(one: Settings, other: Settings) -> dict[str, tuple[Any, Any]]:
    """Return what two runs have set differently, except method, level, seed and versions.

    >>> differences({"seed": 0, "gamma": 0.5}, {"seed": 1, "gamma": 0.9})
    {'gamma': (0.5, 0.9)}
    """
    left, right = _without_own(one), _without_own(other)
    return {
        name: (left.get(name), right.get(name))
        for name in dict.fromkeys([*left, *right])
        if left.get(name) != right.get(name) and not name.startswith(VERSIONS)
    }


def _without_own(settings: Settings) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in OWN}
