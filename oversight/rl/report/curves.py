"""Learning curves: read from event files, stored as one table, and averaged over runs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from scipy import stats
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event

from oversight.rl.result_files import deployed_events
from oversight.runs.statistics import LEVEL, SEED

Points = Mapping[int, float]
"""The values of a learning curve, by environment step."""

_FRAME = 16  # bytes around each record of an event file: its length and two checksums
_RESAMPLES = 2_000


@dataclass(frozen=True, slots=True)
class Band:
    """The mean of several learning curves with its 95% interval.

    Attributes:
        steps: environment steps, rising, [points].
        mean: over the runs that have the step, [points].
        low: lower end of the interval, NaN where only one run has the step, [points].
        high: upper end, [points].
        runs: number of runs.
    """

    steps: NDArray[np.int64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    runs: int


def read_event_files(folder: Path, tag: str, problems: list[str]) -> Points:
    """Return one curve of a run's deployed policy; damage is added to `problems`."""
    points: dict[int, float] = {}
    paths = deployed_events(folder)
    if not paths:
        problems.append(f"{folder.name}: there are no events of its deployed policy, and no curve")
    for path in paths:
        if fault := _read_events(path, tag, points):
            problems.append(f"{folder.name}: {path.name} {fault}; its curve ends there")
    return points


def _read_events(path: Path, tag: str, points: dict[int, float]) -> str | None:
    """Add the points of one event file; return a description of its damage, if any."""
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


def write_curves(path: Path, curves: Mapping[str, Points]) -> None:
    """Write curves as CSV: a line for each run, a column for each step, in single precision.

    Event files hold single precision, so that nothing is lost.
    """
    table = pd.DataFrame(curves).T.sort_index(axis="columns").astype(np.float32)
    finite = table.where(np.isfinite(table))
    finite.to_csv(path, index_label="run", lineterminator="\n")


def read_curves(path: Path) -> dict[str, Points]:
    """Return the curves of such a file, bit for bit.

    Raises:
        ValueError: if the file is missing or damaged.
    """
    try:
        return _parse_curves(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged, no curves were read from it: {error}") from error


def _parse_curves(text: str) -> dict[str, Points]:
    first, *lines = text.splitlines() or [""]
    if first.split(",")[0] != "run":
        raise ValueError("its first line does not begin with run")
    for number, line in enumerate(lines, start=2):
        if line.count(",") != first.count(","):
            run = line.split(",")[0]
            raise ValueError(f"line {number} ({run}) has not as many cells as the first")
    table = pd.read_csv(StringIO(text), index_col="run", dtype=str)
    single = table.set_axis(table.columns.astype(int), axis="columns").astype(np.float32)
    return {str(run): row.dropna().to_dict() for run, row in single.astype(float).iterrows()}


def band(curves: Iterable[Points]) -> Band | None:
    """Return the mean of curves over the steps that any of them has; None without any point."""
    table = pd.DataFrame(dict(enumerate(curves)), dtype=float).sort_index()
    table = table.where(np.isfinite(table)).dropna(axis="columns", how="all").dropna(how="all")
    if table.empty:
        return None
    samples = [row[~np.isnan(row)] for row in table.to_numpy()]
    intervals = _intervals(samples)
    return Band(
        steps=table.index.to_numpy(),
        mean=np.array([sample.mean() for sample in samples]),
        low=intervals[:, 0],
        high=intervals[:, 1],
        runs=table.shape[1],
    )


def _intervals(samples: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the interval of each mean, [samples, 2], with one bootstrap for each sample size."""
    ends = np.full((len(samples), 2), np.nan)
    for size in {len(sample) for sample in samples} - {1}:
        rows = [i for i, sample in enumerate(samples) if len(sample) == size]
        result = stats.bootstrap(
            [np.stack([samples[i] for i in rows])],
            np.mean,
            axis=-1,
            n_resamples=_RESAMPLES,
            confidence_level=LEVEL,
            method="percentile",
            rng=np.random.default_rng(SEED),
        ).confidence_interval
        ends[rows] = np.stack([result.low, result.high], axis=-1)
    return ends
