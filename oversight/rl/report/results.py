"""The results of a study, read from its folder or from its export, and the export itself.

A missing or damaged part becomes a problem that names it, and all other parts are read.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from PIL import Image

from oversight.rl.report.curves import Points, read_curves, read_event_files, write_curves
from oversight.rl.result_files import (
    ABOUT,
    COLUMNS,
    CURVES,
    KNOWN,
    MODULES,
    ROWS,
    SETTINGS,
    WHOLE,
    Settings,
    as_csv,
    is_further_metric,
    pack,
    parse_row,
    read_csv,
    unpack,
)
from oversight.runs.folder import RunFolder, flat, read_json, require_writable, write_json

T = TypeVar("T")

ALL, OBSERVED, UNOBSERVED = "true_return", "true_return_observed", "true_return_unobserved"
FLAG_FLIP_GAP, LEVEL = "flag_flip_gap", "oversight_probability"
ORACLE_SELECTION = "oracle_selection"
"""The selection rule that uses the hidden true reward."""
MAIN = "default"
"""The variation that changes no setting."""
MOST_CELLS = 6
"""Cells of missing runs that a warning names."""

_RETURN_TAG = "eval/true_return"
_KEY = ["variation", "method", LEVEL, "seed", "rule"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """The content of a study's folder.

    Attributes:
        name: of the study.
        folder: where it is.
        rows: one row for each run and selection rule, with `COLUMNS` and further metrics of its
            environments; a number that was not measured is NaN.
        settings: by run and dotted name, with the versions of packages.
        curves: by run, the learning curve of the true return in unobserved episodes; at oversight
            probability 1, where there are none, that in all episodes.
        module_maps: by run, PNG files of one run of each method.
        problems: a sentence for each part that is missing or damaged.
        declared: number of runs of the study, finished or not; None if unknown.
    """

    name: str
    folder: Path
    rows: pd.DataFrame
    settings: Mapping[str, Settings]
    curves: Mapping[str, Points]
    module_maps: Mapping[str, bytes]
    problems: tuple[str, ...]
    declared: int | None

    @property
    def runs(self) -> pd.DataFrame:
        """The last row of each run, by the run's name."""
        return self.rows.drop_duplicates("run", keep="last").set_index("run")

    @property
    def variations(self) -> tuple[str, ...]:
        """All variations; the first is the default if it was run."""
        names = self.rows["variation"].unique().tolist()
        return tuple(sorted(names, key=lambda name: name != MAIN))


def read_study(folder: Path, progress: Callable[[str], None] = lambda _: None) -> Study:
    """Read a study from the results of a sweep or from an export.

    Args:
        folder: of a study or an export.
        progress: is called with a description of each step.

    Raises:
        ValueError: if there is no such folder, or no readable row of results in it.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder: give the folder of a study")
    problems: list[str] = []
    results = _read_results(folder, problems)
    rows = _parse_rows(results.get("rows"), problems)
    if not rows:
        failed = _missing_runs({"failed": results.get("failed")}, set())
        reasons = "; ".join([*problems, *failed]) or (
            "its results list no run; a sweep lists each run when it ends, and goes on when it is "
            "started again"
        )
        raise ValueError(f"{folder} holds no results to report: {reasons}")
    further = dict.fromkeys(name for row in rows for name in row if is_further_metric(name))
    table = pd.DataFrame(rows, columns=[*COLUMNS, *further]).astype(dict.fromkeys(WHOLE, "Int64"))
    repeated = table[table.duplicated(_KEY, keep="last")]
    problems += [
        f"{run} has two rows of rule {rule}; the later one is used"
        for run, rule in zip(repeated["run"], repeated["rule"], strict=True)
    ]
    table = table.drop_duplicates(_KEY, keep="last", ignore_index=True)
    problems += _missing_runs(results, set(table["run"]))
    settings, curves, module_maps = _read_artifacts(folder, table, problems, progress)
    declared = results.get("runs")
    return Study(
        name=str(results.get("study") or folder.resolve().name),
        folder=folder,
        rows=table,
        settings=settings,
        curves=curves,
        module_maps=module_maps,
        problems=tuple(dict.fromkeys(problems)),
        declared=declared if isinstance(declared, int) else None,
    )


def _read_results(folder: Path, problems: list[str]) -> dict[str, Any]:
    """Return the results of a sweep, or those of an export with the problems that it recorded."""
    try:
        if not (folder / ABOUT).exists() and not (folder / "results.json").exists():
            raise ValueError(
                f"it has neither the results.json of a sweep nor the {ABOUT} of an export"
            )
        if not (folder / ABOUT).exists():
            return read_json(folder / "results.json")
        rows = read_csv(folder / ROWS)
        about = read_json(folder / ABOUT)
    except ValueError as error:
        raise ValueError(f"{folder} holds no results to report: {error}") from error
    recorded = about.get("problems")
    problems += map(str, recorded if isinstance(recorded, list) else [])
    return {**about, "rows": rows}


def _parse_rows(data: object, problems: list[str]) -> list[dict[str, Any]]:
    rows = []
    for number, cells in enumerate(data if isinstance(data, list) else [], start=1):
        try:
            if not isinstance(cells, Mapping):
                raise ValueError(f"it is {type(cells).__name__}, not an object")
            rows.append(parse_row(cells))
        except ValueError as error:
            run = cells.get("run") if isinstance(cells, Mapping) else None
            problems.append(f"results: row {number} ({run or 'unnamed'}) was left out: {error}")
    return rows


def _missing_runs(results: Mapping[str, Any], known: set[str]) -> list[str]:
    """Return the runs that failed or are missing according to the sweep."""
    failed = {
        str(each.get("run")): str(each.get("error"))
        for each in _listed(results, "failed")
        if isinstance(each, Mapping)
    }
    problems = [f"{run} failed: {error}" for run, error in failed.items()]
    names = [str(run) for run in _listed(results, "missing")]
    missing = [run for run in names if run not in known | set(failed)]
    if len(missing) < 2:
        return problems + [f"{run} is missing" for run in missing]
    seeds: dict[str, list[int]] = {}
    for run in missing:
        cell, _, seed = run.rpartition("-seed")
        seeds.setdefault(cell, []).append(int(seed) if seed.isdecimal() else 0)
    cells = [f"{cell} (seeds {ranges(found)})" for cell, found in seeds.items()]
    if len(cells) > MOST_CELLS:
        further = len(cells) - MOST_CELLS
        cells = [*cells[:MOST_CELLS], f"and {further} more, which results.json names"]
    return [*problems, f"{len(missing)} runs are missing: {', '.join(cells)}"]


def _listed(results: Mapping[str, Any], name: str) -> list[Any]:
    entries = results.get(name)
    return entries if isinstance(entries, list) else []


def ranges(numbers: Iterable[int]) -> str:
    """Return whole numbers in short form.

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


def _read_artifacts(
    folder: Path, rows: pd.DataFrame, problems: list[str], progress: Callable[[str], None]
) -> tuple[dict[str, Settings], dict[str, Points], dict[str, bytes]]:
    """Return settings, learning curves and module maps, from run folders or from an export.

    An export stands for those runs that it knows and whose own folders have no summary.
    """
    export = folder if (folder / ABOUT).exists() else folder / KNOWN
    exported = (export / ABOUT).exists()
    stored_settings = _try(_read_settings, export / SETTINGS, problems) if exported else {}
    stored_curves = _try(read_curves, export / CURVES, problems) if exported else {}
    settings: dict[str, Settings] = {}
    curves: dict[str, Points] = {}
    maps: dict[str, Path] = {}
    for run, level in dict(zip(rows["run"], rows[LEVEL], strict=True)).items():
        progress(f"reading {run}")
        own = RunFolder(folder / "runs" / run)
        if (run in stored_settings or run in stored_curves) and not own.summary.exists():
            settings[run], curves[run] = stored_settings.get(run, {}), stored_curves.get(run, {})
            maps[run] = export / MODULES / f"{run}.png"
        elif own.path.exists():  # a study may come without the folders of its runs
            settings[run] = _try(_read_config, own.config, problems)
            tag = _RETURN_TAG if level == 1 else f"{_RETURN_TAG}_unobserved"
            curves[run] = read_event_files(own.path, tag, problems)
            maps[run] = own.module_map
    return (
        {run: each for run, each in settings.items() if each},
        {run: each for run, each in curves.items() if each},
        _read_module_maps(rows, maps, problems),
    )


def _try(read: Callable[[Path], dict[str, T]], path: Path, problems: list[str]) -> dict[str, T]:
    try:
        return read(path)
    except ValueError as error:
        problems.append(str(error))
        return {}


def _read_settings(path: Path) -> dict[str, Settings]:
    return unpack(read_json(path), path)


def _read_config(path: Path) -> dict[str, Any]:
    return dict(flat(read_json(path)))


def _read_module_maps(
    rows: pd.DataFrame, maps: Mapping[str, Path], problems: list[str]
) -> dict[str, bytes]:
    """Return one module map per method, of a run at the middle level if it has one there."""
    variation = MAIN if MAIN in set(rows["variation"]) else rows["variation"].iloc[0]
    runs = rows[rows["variation"] == variation].drop_duplicates("run")
    levels = sorted(runs[LEVEL].unique())
    runs = runs.assign(distance=runs[LEVEL] != levels[len(levels) // 2])
    found = {}
    for _, own in runs.sort_values(["distance", "seed"], kind="stable").groupby(
        "method", sort=False
    ):
        for run in own["run"]:
            png = _read_png(maps.get(run), run, problems)
            if png is not None:
                found[run] = png
                break
    return found


def _read_png(path: Path | None, run: str, problems: list[str]) -> bytes | None:
    if path is None or not path.exists():
        return None
    try:
        data = path.read_bytes()
        Image.open(BytesIO(data)).load()
    except (OSError, ValueError, SyntaxError) as error:  # Pillow raises all three
        problems.append(f"{run}: {path.name} is damaged ({type(error).__name__})")
        return None
    return data


def export(study: Study, folder: Path) -> None:
    """Write all that the report of a study needs, in place of an earlier export.

    `study.json` is written last: a folder without it is not an export.

    Raises:
        ValueError: if the folder holds a study with its runs, or cannot be written.
    """
    own = folder.resolve() == study.folder.resolve()
    if own or any((folder / name).exists() for name in ("results.json", "runs")):
        raise ValueError(f"{folder} holds a study itself: name another --export")
    require_writable(folder, "--export")
    (folder / ABOUT).unlink(missing_ok=True)
    for path in (folder / MODULES).glob("*.png"):
        path.unlink()
    (folder / MODULES).mkdir(exist_ok=True)
    for run, png in study.module_maps.items():
        (folder / MODULES / f"{run}.png").write_bytes(png)
    rows = study.rows.assign(study=study.name).astype(object)
    cells = rows.where(rows.notna(), None).to_dict("records")
    (folder / ROWS).write_text(as_csv(cells), encoding="utf-8")
    write_curves(folder / CURVES, study.curves)
    write_json(folder / SETTINGS, pack(study.settings))
    about = {"study": study.name, "runs": study.declared, "problems": list(study.problems)}
    write_json(folder / ABOUT, about)
