"""Runs known from exported results: they were finished elsewhere, and are not done again."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from oversight.record import flat, read_json
from oversight.results import ABOUT, KNOWN, ROWS, SETTINGS, read_csv, typed
from oversight.selection import RULES
from oversight.settings import Settings, differences, unpack
from oversight.study import Run, Study

Known = Mapping[str, list[dict[str, Any]]]
"""By run, its rows, one for each rule of selection."""


def read_known(study: Study, place: Path) -> Known:
    """Return the rows of those runs of a study that an export holds whole; none without an export.

    The commit that they ran on may be another than today's: it stays in their rows.

    Raises:
        ValueError: if the export is damaged, or holds a run with other settings than the study's.
    """
    if not (place / ABOUT).exists():
        return {}
    settings = unpack(read_json(place / SETTINGS), place / SETTINGS)
    rows: dict[str, list[dict[str, Any]]] = {}
    for cells in read_csv(place / ROWS):
        row = typed(cells, place / ROWS)
        rows.setdefault(row["run"], []).append({**row, "study": study.name})
    runs = [run for run in study.runs() if run.id in rows and run.id in settings]
    for run in runs:
        _require_same(run, settings[run.id], place)
    whole = {run.id: rows[run.id] for run in runs}
    return {name: each for name, each in whole.items() if [row["rule"] for row in each] == [*RULES]}


def adopt(place: Path, folder: Path) -> None:
    """Copy an export into a study's folder, where it is found from then on."""
    target, part = folder / KNOWN, folder / f"{KNOWN}.part"
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(place, part, ignore=shutil.ignore_patterns("report"))
    shutil.rmtree(target, ignore_errors=True)
    part.rename(target)


def require_export(place: Path) -> None:
    """See that a folder holds exported results.

    Raises:
        ValueError: if not.
    """
    if not (place / ABOUT).exists():
        raise ValueError(
            f"{place} holds no exported results: name a folder that `oversight.report --export` "
            "wrote"
        )


def _require_same(run: Run, stored: Settings, place: Path) -> None:
    declared = dict(flat(json.loads(json.dumps(asdict(run.config), default=str))))
    for name, (there, here) in differences(stored, declared).items():
        raise ValueError(
            f"{place} holds another run {run.id}: {name} is {there!r} there and {here!r} here; "
            "name another --known"
        )
