"""Learning curves: a run's points from its TensorBoard events, and many runs' as one band."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from scipy import stats
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event

from oversight.reporting.statistics import LEVEL, SEED

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
