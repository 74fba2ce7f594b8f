"""Progress of many runs: what each run reports, and the estimate of the time left."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from oversight.runs.parallel import (
    PROGRESS_FILE,
    JobsProgress,
    Outcome,
    ProgressReporter,
    read_progress,
)


def ticking(*seconds: float) -> Callable[[], float]:
    return iter(seconds).__next__


def test_progress_is_written_at_intervals_and_read_back(tmp_path: Path) -> None:
    report = ProgressReporter(tmp_path, every=1.0, clock=ticking(0.0, 0.9, 1.0))
    report("training", 0.25)
    assert read_progress(tmp_path) == (0.25, "training")
    report("training", 0.5)
    assert read_progress(tmp_path) == (0.25, "training")
    report("relearning at 16", 0.75)
    assert read_progress(tmp_path) == (0.75, "relearning at 16")
    assert [path.name for path in tmp_path.iterdir()] == [PROGRESS_FILE]


def test_progress_is_zero_when_its_file_is_missing_or_damaged(tmp_path: Path) -> None:
    assert read_progress(tmp_path) == (0.0, "")
    (tmp_path / PROGRESS_FILE).write_text("soon")
    assert read_progress(tmp_path) == (0.0, "")
    (tmp_path / PROGRESS_FILE).write_text("7 training")
    assert read_progress(tmp_path) == (1.0, "training")


def test_time_left_is_extrapolated_from_the_pace_since_the_start(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in "ab"}
    for folder in folders.values():
        folder.mkdir()
    ProgressReporter(folders["a"])("training", 0.5)  # by a process before this one
    shown = io.StringIO()
    clock = ticking(0.0, 10.0, 40.0, 50.0)
    progress = JobsProgress({"a": 100, "b": 300}, Console(file=shown), folders, clock)
    assert progress.left() == ""
    ProgressReporter(folders["b"])("training", 0.5)
    # 150 units in 10 s, and 50 + 150 are left
    assert progress.left() == "about 0:00:13 left"
    with progress:
        progress.end(Outcome("a"))
        progress.end(Outcome("b", "the disk is full"))
    # 200 units in 40 s, and 150 are left
    assert shown.getvalue().splitlines() == [
        "1/2 a: done, about 0:00:30 left",
        "2/2 b: FAILED: the disk is full, about 0:00:00 left",
    ]


def test_run_collects_errors_and_stops_when_a_job_was_interrupted() -> None:
    failed: dict[str, str] = {}
    progress = JobsProgress({"a": 1, "b": 1, "c": 1}, Console(file=io.StringIO()))
    outcomes = [Outcome("a", "the disk is full"), Outcome("b", interrupted=True), Outcome("c")]
    with pytest.raises(KeyboardInterrupt):
        progress.run(outcomes, failed)
    assert failed == {"a": "the disk is full"}
