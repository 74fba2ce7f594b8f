"""Fixtures: a finished run and a reported study that tests only read, and a copy to change."""

import shutil
from pathlib import Path

import pytest

from oversight import report
from oversight.runs import cli
from tests.oversight.rl.report.study_folders import write_damaged_study
from tests.oversight.rl.trained_runs import TINY, rollouts, run_train


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of four rollouts; to be read only."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    assert run_train(*TINY, *rollouts(4), "--run-dir", folder) == 0
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to be changed."""
    return shutil.copytree(finished, tmp_path / "copied")


@pytest.fixture(scope="session")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A damaged study of two variations with its report, and its export beside it."""
    path = write_damaged_study(tmp_path_factory.mktemp("studies") / "damaged")
    assert cli.run(report.main, [str(path), "--export", str(path.parent / "exported")]) == 0
    return path
