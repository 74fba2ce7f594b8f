"""Progress: what a run notes is read back, and the time left is that of a steady pace."""

import io
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from oversight.runs.parallel import NOTE, Notes, Outcome, RunsProgress, noted


def ticking(*seconds: float) -> Callable[[], float]:
    return iter(seconds).__next__


def test_a_note_is_read_back_and_not_written_too_often(tmp_path: Path) -> None:
    note = Notes(tmp_path, every=1.0, clock=ticking(0.0, 0.9, 1.0))
    note("training", 0.25)
    assert noted(tmp_path) == (0.25, "training")
    note("training", 0.5)
    assert noted(tmp_path) == (0.25, "training")
    note("relearning at 16", 0.75)
    assert noted(tmp_path) == (0.75, "relearning at 16")
    assert [path.name for path in tmp_path.iterdir()] == [NOTE]


def test_what_is_no_note_counts_as_nothing_done(tmp_path: Path) -> None:
    assert noted(tmp_path) == (0.0, "")
    (tmp_path / NOTE).write_text("soon")
    assert noted(tmp_path) == (0.0, "")
    (tmp_path / NOTE).write_text("7 training")
    assert noted(tmp_path) == (1.0, "training")


def test_the_time_left_is_judged_by_what_was_done_since_the_start(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in "ab"}
    for folder in folders.values():
        folder.mkdir()
    Notes(folders["a"])("training", 0.5)  # by a process before this one
    shown = io.StringIO()
    clock = ticking(0.0, 10.0, 40.0, 50.0)
    progress = RunsProgress(folders, {"a": 100, "b": 300}, Console(file=shown), clock)
    assert progress.left() == ""
    Notes(folders["b"])("training", 0.5)
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
