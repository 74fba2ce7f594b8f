"""Learning curves: a run's points from its TensorBoard events, and many runs' as one band.

Learning curves of many runs in one small table: a line for each run, a column for each step.

What the runs of a study left beside their scores: settings, learning curves, module maps.

What an export holds beside its rows, read: settings, curves and module maps of runs.

Small files from which a report is made where the runs' folders are not at hand.
"""

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO, StringIO
from math import isfinite
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from PIL import Image
from scipy import stats
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event

from oversight.rl.report.results import Study
from oversight.rl.result_files import (
    ABOUT,
    COLUMNS,
    CURVES,
    KNOWN,
    MODULES,
    ROWS,
    SETTINGS,
    Settings,
    as_csv,
    pack,
    unpack,
)
from oversight.runs.folder import RunFolder, flat, read_json, require_writable, write_json
from oversight.runs.statistics import LEVEL, SEED

DEPLOYED = "eval_deployed/true_return"
"""The tag of the deployed policy's true return over all episodes; others follow by a suffix."""

Points = Mapping[int, float]

_FRAME = 16  # bytes around each record of an event file: its length and two checksums
_RESAMPLES = 2_000


@dataclass(frozen=True, slots=True)
class Band:
    """What many runs did, step by step.

    Attributes:
        steps: environment steps, rising, [points].
        mean: over the runs, [points].
        low: lower end of the 95% interval, NaN where a single run has a point, [points].
        high: upper end, [points].
        runs: how many runs there are.
    """

    steps: NDArray[np.int64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    runs: int


def read_curve(folder: Path, tag: str, problems: list[str]) -> Points:
    """Return the points of one curve of a run, by step; what a file lacks is told by name."""
    points: dict[int, float] = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        if fault := _read_file(path, tag, points):
            problems.append(f"{folder.name}: {path.name} {fault}; its curve ends there")
    return points


def _read_file(path: Path, tag: str, points: dict[int, float]) -> str | None:
    """Add the points of one event file; return what is wrong with it, if anything is."""
    read = 0
    try:
        for record in RawEventFileLoader(str(path)).Load():
            event = Event.FromString(record)
            read += len(record) + _FRAME
            for value in event.summary.value:
                if value.tag == tag and value.HasField("simple_value"):
                    points[event.step] = value.simple_value
        size = path.stat().st_size
    except (OSError, DecodeError) as error:
        return f"cannot be read ({type(error).__name__})"
    if read < size:
        return f"is cut short or damaged after {read:,} of {size:,} bytes"
    return None


def band(curves: Iterable[Points]) -> Band | None:
    """Return the mean of curves over the steps that any of them has, with its interval."""
    given = [{step: value for step, value in each.items() if np.isfinite(value)} for each in curves]
    given = [each for each in given if each]
    if not given:
        return None
    steps = sorted(set().union(*given))
    columns = [np.array([each[step] for each in given if step in each]) for step in steps]
    intervals = _intervals(columns)
    return Band(
        steps=np.array(steps),
        mean=np.array([column.mean() for column in columns]),
        low=intervals[:, 0],
        high=intervals[:, 1],
        runs=len(given),
    )


def _intervals(columns: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the interval of each mean, [columns, 2], those of one size by one bootstrap."""
    ends = np.full((len(columns), 2), np.nan)
    for size in {len(column) for column in columns} - {1}:
        rows = [i for i, column in enumerate(columns) if len(column) == size]
        result = stats.bootstrap(
            [np.stack([columns[i] for i in rows])],
            np.mean,
            axis=-1,
            n_resamples=_RESAMPLES,
            confidence_level=LEVEL,
            method="percentile",
            rng=np.random.default_rng(SEED),
        ).confidence_interval
        ends[rows] = np.stack([result.low, result.high], axis=-1)
    return ends


def curves_csv(curves: Mapping[str, Points]) -> str:
    """Return curves as comma-separated lines, in the shortest text of their single precision.

    >>> print(curves_csv({"a": {10: 0.5}, "b": {10: float(np.float32(0.1)), 30: 1.0}}), end="")
    run,10,30
    a,0.5,
    b,0.1,1.0
    """
    steps = sorted(set().union(*curves.values()))
    text = StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["run", *steps])
    for run, points in curves.items():
        table.writerow([run, *(_text(points[step]) if step in points else "" for step in steps)])
    return text.getvalue()


def from_csv(text: str) -> dict[str, Points]:
    """Return the curves of such lines, to the bit.

    Raises:
        ValueError: if they are something else; the line is named.
    """
    heads, *lines = list(csv.reader(StringIO(text))) or [[]]
    if heads[:1] != ["run"]:
        raise ValueError("its first line does not begin with run")
    curves: dict[str, Points] = {}
    for number, (run, *cells) in enumerate(filter(None, lines), start=2):
        if len(cells) != len(heads) - 1:
            raise ValueError(f"line {number} ({run}) has not as many cells as the first")
        pairs = zip(heads[1:], cells, strict=True)
        curves[run] = {int(step): float(np.float32(cell)) for step, cell in pairs if cell}
    return curves


def _text(value: float) -> str:
    return str(np.float32(value)) if isfinite(value) else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """What is known of runs whose folders may not be at hand.

    Attributes:
        settings: by run.
        curves: learning curves, by run.
        modules: the folder of their module maps.
    """

    settings: Mapping[str, Settings]
    curves: Mapping[str, Points]
    modules: Path

    def stands_for(self, run: RunFolder) -> bool:
        """Whether a run is known from here alone: its own folder does not say how it ended."""
        name = run.path.name
        return (name in self.settings or name in self.curves) and not run.summary.exists()

    def module_map(self, run: str) -> Path:
        """Return where the module map of a run lies, if there is one."""
        return self.modules / f"{run}.png"


def read_exported(folder: Path, problems: list[str]) -> Exported:
    """Read the export that a folder is, or that it took over; empty if there is none.

    What is damaged is told by name, and the rest is read.
    """
    place = folder if (folder / ABOUT).exists() else folder / KNOWN
    if not (place / ABOUT).exists():
        return Exported(settings={}, curves={}, modules=place / MODULES)
    return Exported(
        settings=_exported_settings(place / SETTINGS, problems),
        curves=_curves(place / CURVES, problems),
        modules=place / MODULES,
    )


def _exported_settings(path: Path, problems: list[str]) -> Mapping[str, Settings]:
    try:
        return unpack(read_json(path), path)
    except ValueError as error:
        problems.append(str(error))
        return {}


def _curves(path: Path, problems: list[str]) -> Mapping[str, Points]:
    try:
        return from_csv(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # the latter of what is no UTF-8, too
        problems.append(f"{path} is damaged, no curves were read from it: {error}")
        return {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Traces:
    """What is there of each run, by its name.

    Attributes:
        settings: by their dotted names, with the commit and the versions of packages.
        curves: true return where somebody may be unwatched, and at p = 1 over all episodes.
        pictures: module maps as PNG, those that a page shows: one for each method.
        problems: what was damaged, a sentence each.
    """

    settings: Mapping[str, Settings]
    curves: Mapping[str, Points]
    pictures: Mapping[str, bytes]
    problems: tuple[str, ...]


def read_traces(study: Study, told: Callable[[str], None] = lambda _: None) -> Traces:
    """Read from the folders of a study's runs, and from exported files for those without one."""
    problems: list[str] = []
    exported = read_exported(study.folder, problems)
    settings: dict[str, Settings] = {}
    curves: dict[str, Points] = {}
    for run, row in {row.run: row for row in study.rows}.items():
        told(f"reading {run}")
        folder = study.run(run)
        if exported.stands_for(folder):
            settings[run] = exported.settings.get(run, {})
            curves[run] = exported.curves.get(run, {})
        elif folder.path.exists():  # a study may come without its runs' folders
            settings[run] = _settings(folder, problems)
            tag = DEPLOYED if row.level == 1 else f"{DEPLOYED}_unobserved"
            curves[run] = read_curve(folder.path, tag, problems)
    return Traces(
        settings={run: each for run, each in settings.items() if each},
        curves={run: each for run, each in curves.items() if each},
        pictures=_pictures(study, exported, problems),
        problems=tuple(problems),
    )


def _settings(folder: RunFolder, problems: list[str]) -> Settings:
    try:
        return dict(flat(read_json(folder.config)))
    except ValueError as error:
        problems.append(f"{folder.path.name}: {error}")
        return {}


def _pictures(study: Study, exported: Exported, problems: list[str]) -> dict[str, bytes]:
    """Return one module map per method, of a run at the level in the middle where it has one."""
    rows = {row.run: row for row in study.rows if row.variation == study.main}.values()
    levels = sorted({row.level for row in rows})
    pictures = {}
    for method in dict.fromkeys(row.method for row in rows):
        own = [row for row in rows if row.method == method]
        for row in sorted(own, key=lambda row: (row.level != levels[len(levels) // 2], row.seed)):
            folder = study.run(row.run)
            stored = exported.stands_for(folder)
            path = exported.module_map(row.run) if stored else folder.module_map
            png = _png(path, row.run, problems)
            if png is not None:
                pictures[row.run] = png
                break
    return pictures


def _png(path: Path, run: str, problems: list[str]) -> bytes | None:
    """Return a picture's bytes if it is one, else say so; None where there is none."""
    if not path.exists():
        return None
    try:
        data = path.read_bytes()
        Image.open(BytesIO(data)).load()
    except (OSError, ValueError, SyntaxError) as error:  # Pillow raises all three
        problems.append(f"{run}: {path.name} is damaged ({type(error).__name__})")
        return None
    return data


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
