"""A killed sweep resumes: it loses no run, repeats none, and its results are bit-equal."""

import os
import signal
import time
from pathlib import Path

import pytest

from agents.checkpoint import read_state
from oversight.rl.sweep import Job, jobs_of, work
from oversight.runs.folder import RunFolder
from oversight.runs.parallel import WORKER_DIED, Outcome, locked, on_cores
from tests.oversight.rl.tiny_studies import IDS, longer, results, run_sweep, start_sweep, tiny
from tests.oversight.rl.trained_runs import difference, outcome, summary

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep") / "uninterrupted"
    assert run_sweep("longer", "--workers", "1", "--folder", folder) == 0
    return folder


def count(folder: Path, name: str) -> int:
    return len(list(folder.glob(f"runs/*/{name}")))


def wait_until_idle(folder: Path) -> dict[str, float]:
    """Wait until no process works on the runs; return when each file was written."""
    for name in IDS:
        with locked(folder / "runs" / name, patience=30):
            pass
    return {str(path): path.stat().st_mtime_ns for path in folder.glob("runs/*/[!.]*")}


@pytest.mark.parametrize("group", [True, False], ids=["with its workers", "alone"])
def test_killed_sweep_resumes_to_the_same_results(
    uninterrupted: Path, tmp_path: Path, group: bool
) -> None:
    process = start_sweep("longer", "--workers", "2", "--folder", tmp_path)
    try:
        while not (count(tmp_path, "summary.json") and count(tmp_path, "checkpoint.pt") > 2):
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.01)
        (os.killpg if group else os.kill)(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
    finally:
        process.kill()
    before = wait_until_idle(tmp_path)
    done = {path.parent.name for path in tmp_path.glob("runs/*/summary.json")}
    assert 0 < len(done) < len(IDS)
    begun = {p.parent.name for p in tmp_path.glob("runs/*/checkpoint.pt")} - done
    steps = [read_state(RunFolder(tmp_path / "runs" / name).checkpoint) for name in begun]
    assert begun
    assert all(each["agent"]["num_timesteps"] > 0 for each in steps)
    time.sleep(1)  # TensorBoard orders files by the seconds in their names
    assert run_sweep("longer", "--workers", "1", "--folder", tmp_path) == 0
    after = wait_until_idle(tmp_path)
    for path, when in before.items():
        assert Path(path).parent.name not in done or after[path] == when
    for name in IDS:
        one, other = (folder / "runs" / name for folder in (tmp_path, uninterrupted))
        assert difference(outcome(one), outcome(other)) is None
        for key in ("eval", "selection", "observed_episodes", "held_out_episodes", "env_steps"):
            assert summary(one)[key] == summary(other)[key]
    rows = [results(folder)["rows"] for folder in (tmp_path, uninterrupted)]
    assert [row["run"] for row in rows[0]] == [row["run"] for row in rows[1]]


def test_interrupted_sweep_prints_so_and_keeps_its_runs(tmp_path: Path) -> None:
    process = start_sweep("longer", "--workers", "1", "--folder", tmp_path)
    try:
        while not count(tmp_path, "checkpoint.pt"):
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert errors.endswith("interrupted\n")
    assert "Traceback" not in errors
    assert results(tmp_path)["missing"] == IDS
    assert count(tmp_path, "checkpoint.pt") == 1


def exit_or_work(job: Job) -> Outcome:
    """Do a job, or end the process in the second one."""
    if job.id == IDS[1]:
        os._exit(1)
    return Outcome(job.id)


def test_only_one_run_fails_when_a_worker_dies(tmp_path: Path) -> None:
    jobs = jobs_of(tiny().runs(), tmp_path)
    outcomes = {each.id: each.error for each in on_cores(exit_or_work, jobs, 2)}
    assert outcomes == {name: WORKER_DIED if name == IDS[1] else None for name in IDS}


def test_run_is_refused_while_another_process_works_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job, *_) = jobs_of(longer().runs(), tmp_path)
    with locked(job.folder):
        clock = iter([0.0, 1.0, 6.0])
        monkeypatch.setattr("oversight.runs.parallel.time.monotonic", lambda: next(clock))
        waited = work(job)
    line = f"another process is working in {job.folder}: wait until it ends, then start again"
    assert waited == Outcome(job.id, line)
    assert not RunFolder(job.folder).config.exists()
