"""Small files from which a report is made where the runs' folders are not at hand."""

from pathlib import Path

from oversight.record import write_json
from oversight.reporting.curve_file import as_csv as curves_csv
from oversight.reporting.study import Study
from oversight.reporting.traces import Traces
from oversight.results import ABOUT, COLUMNS, CURVES, MODULES, ROWS, SETTINGS, as_csv
from oversight.run import require_writable
from oversight.settings import pack


def export(study: Study, traces: Traces, folder: Path) -> None:
    """Write what the report of a study needs; what an earlier export left there is replaced.

    Left out are the curves that the report does not draw, models and checkpoints, and the module
    maps that it does not show. `study.json` comes last: a folder without it is no export.

    Raises:
        ValueError: if the folder is that of a study, or cannot be written.
    """
    own = folder.resolve() == study.folder.resolve()
    if own or any((folder / name).exists() for name in ("results.json", "runs")):
        raise ValueError(f"{folder} holds a study itself: name another --export")
    require_writable(folder, "--export")
    (folder / ABOUT).unlink(missing_ok=True)
    _write_maps(traces, folder / MODULES)
    rows = [{name: row.cells.get(name) for name in COLUMNS} for row in study.rows]
    named = [{**row, "study": study.name} for row in rows]
    (folder / ROWS).write_text(as_csv(named), encoding="utf-8")
    (folder / CURVES).write_text(curves_csv(traces.curves), encoding="utf-8")
    write_json(folder / SETTINGS, pack(traces.settings))
    problems = list(dict.fromkeys([*study.problems, *traces.problems]))
    write_json(folder / ABOUT, {"study": study.name, "runs": study.declared, "problems": problems})


def _write_maps(traces: Traces, folder: Path) -> None:
    for path in folder.glob("*.png"):
        path.unlink()
    if traces.pictures:
        folder.mkdir(exist_ok=True)
    for run, png in traces.pictures.items():
        (folder / f"{run}.png").write_bytes(png)
