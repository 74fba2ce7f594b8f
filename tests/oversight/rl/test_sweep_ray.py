"""A sweep on Ray: its runs equal those of joblib, and a dying process fails only its run."""

import os
import sys
from pathlib import Path

import pytest

from oversight import sweep
from oversight.rl.sweep import Job, jobs_of
from oversight.runs import cli
from oversight.runs.parallel import WORKER_DIED, Outcome, execute
from tests.oversight.rl.tiny_studies import IDS, run_sweep, tiny
from tests.oversight.rl.trained_runs import difference, outcome
from tests.oversight.runs.refusals import Capture


def exit_or_work(job: Job) -> Outcome:
    """Do a job, or end the process in the second one."""
    if job.id == IDS[1]:
        os._exit(1)
    return Outcome(job.id)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # those of Ray are its own
def test_ray_and_joblib_give_equal_runs(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    one, other = tmp_path / "joblib", tmp_path / "ray"
    assert run_sweep("tiny", "--folder", one, "--workers", "1") == 0
    assert run_sweep("tiny", "--folder", other, "--workers", "2", "--engine", "ray") == 0
    for name in IDS:
        left, right = (outcome(folder / "runs" / name) for folder in (one, other))
        assert difference(left, right) is None
    assert {str(path.name) for path in (other / "runs").iterdir()} == {*IDS}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_only_one_run_fails_when_a_ray_worker_dies(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    jobs = jobs_of(tiny().runs(), tmp_path)
    outcomes = {each.id: each.error for each in execute(exit_or_work, jobs, "ray", 2)}
    assert outcomes == {name: WORKER_DIED if name == IDS[1] else None for name in IDS}


def test_sweep_names_the_extra_when_ray_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert cli.run(sweep.main, ["tiny", "--folder", str(tmp_path), "--engine", "ray"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == (
        "error: --engine ray needs Ray, which is not installed: pip install ray, or use --engine "
        "joblib"
    )
