"""A run in a process of its own: what a kill left half written goes, and one process has it."""

import json
from pathlib import Path
from typing import Any

import pytest

from lm.config import StudyConfig
from lm.study import Job, jobs_of, work
from oversight.runs.parallel import Outcome, locked
from tests.lm.reporting import result


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """Return a run that is made up in no time."""

    def run_method(*args: Any) -> dict[str, Any]:  # noqa: ANN401
        made, folder = result("gold", 0), args[4]
        (folder / "result.json").write_text(json.dumps(made))
        return made

    monkeypatch.setattr("lm.study.run_method", run_method)
    monkeypatch.setattr("lm.study.task_of", lambda config: None)
    (only,) = jobs_of(StudyConfig(method=("gold",)), tmp_path)
    return only


def test_half_written_files_are_removed_and_no_others(job: Job) -> None:
    job.folder.mkdir(parents=True)
    for name in ("training.pt.77.part", ".trained.safetensors.77.part", "training.pt"):
        (job.folder / name).write_text("half")
    assert work(job) == Outcome(job.id)
    names = {path.name for path in job.folder.iterdir() if "tfevents" not in path.name}
    assert names == {".lock", "training.pt", "result.json"}


def test_a_run_that_another_process_has_is_left_alone(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    with locked(job.folder):
        (job.folder / "training.pt.77.part").write_text("half")
        clock = iter([0.0, 1.0, 6.0])
        monkeypatch.setattr("oversight.runs.parallel.time.monotonic", lambda: next(clock))
        error = work(job).error
    assert error is not None
    assert error.startswith(f"another process is working in {job.folder}: wait until it ends")
    assert {path.name for path in job.folder.iterdir()} == {".lock", "training.pt.77.part"}
