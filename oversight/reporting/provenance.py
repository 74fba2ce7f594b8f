"""What was run: commits, versions, steps and seeds, and a warning where they are mixed."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import nan

import numpy as np

from oversight.reporting.comparison import FEWEST
from oversight.reporting.panel import Panel
from oversight.reporting.study import Study, ranges
from oversight.reporting.table import Cell, Table
from oversight.settings import VERSIONS, Settings

ENOUGH = 5
"""Seeds from which on a 95% interval covers the truth in more than 90% of cases."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Where the numbers come from.

    Attributes:
        runs: how many have results.
        commits: of the source, with the number of runs of each, the most frequent first.
        versions: of packages, each with its number of runs.
        env_steps: of a run, the least and the most.
        hours: of all runs together.
    """

    runs: int
    commits: Mapping[str, int]
    versions: Mapping[str, int]
    env_steps: tuple[float, float]
    hours: float


def provenance(study: Study, settings: Mapping[str, Settings]) -> tuple[Provenance, list[str]]:
    """Return where the numbers come from, and what about that is mixed."""
    rows = {row.run: row for row in study.rows}
    versions = _versions(settings.values())
    problems: list[str] = []
    commits: dict[str, list[str]] = {}
    for run, row in rows.items():
        commits.setdefault(row.commit or "unknown", []).append(run)
    problems += _mixed("commits", {name: len(runs) for name, runs in commits.items()}, commits)
    problems += [
        f"commit {name} was changed: what ran is not what it names"
        for name in commits
        if name.endswith("-dirty")
    ]
    for package, found in versions.items():
        problems += _mixed(f"versions of {package}", found, {})
    steps = _known(row.env_steps for row in rows.values())
    where = Provenance(
        runs=len(rows),
        commits=dict(Counter({name: len(runs) for name, runs in commits.items()}).most_common()),
        versions={
            f"{package} {version}": runs
            for package, found in versions.items()
            for version, runs in found.most_common()
        },
        env_steps=(min(steps), max(steps)) if steps else (nan, nan),
        hours=sum(_known(row.wall_seconds for row in rows.values())) / 3600,
    )
    return where, problems


def _versions(settings: Iterable[Settings]) -> dict[str, Counter[str]]:
    """Return how many runs had which version of each package, by name."""
    versions: dict[str, Counter[str]] = {}
    for each in settings:
        for name, version in each.items():
            if name.startswith(VERSIONS):
                package = name.removeprefix(VERSIONS)
                versions.setdefault(package, Counter())[str(version)] += 1
    return dict(sorted(versions.items()))


def _mixed(what: str, counts: Mapping[str, int], runs: Mapping[str, list[str]]) -> list[str]:
    """Return a warning where there is more than one, naming the runs of the rarer ones."""
    if len(counts) < 2:
        return []
    told = []
    for number, (name, count) in enumerate(Counter(counts).most_common()):
        members = runs.get(name, [])
        named = f": {', '.join(members[:3])}{', ...' if count > 3 else ''}"
        told.append(f"{name} ({count} runs{named if number and members else ''})")
    return [f"the runs have mixed {what}: {', '.join(told)}"]


def _known(values: Iterable[float]) -> list[float]:
    return [value for value in values if not np.isnan(value)]


def seeds_table(panel: Panel, name: str) -> Table:
    """Return which seeds each method has at each level."""
    rows = [
        [Cell(method), *(Cell(ranges(panel.cell(method, level))) for level in panel.levels)]
        for method in panel.methods
    ]
    return Table(
        name=name,
        title="Seeds",
        caption=f"Of the runs that have a checkpoint of rule {panel.rule}.",
        columns=["method", *(f"p = {level:g}" for level in panel.levels)],
        rows=rows,
    )


def few_seeds(panel: Panel) -> list[str]:
    """Return a warning if cells have so few seeds that their intervals are too narrow."""
    sizes = [len(panel.cell(method, at)) for method in panel.methods for at in panel.levels]
    few = sum(0 < size < ENOUGH for size in sizes)
    if not few:
        return []
    cells = f"{few} of {sum(map(bool, sizes))} cells of the variation {panel.name}"
    return [
        f"{cells} have fewer than {ENOUGH} seeds: their intervals are too narrow, and with fewer "
        f"than {FEWEST} they are not compared"
    ]
