"""Fixtures: one finished run that tests may read, and copies that they may change."""

import shutil
from pathlib import Path

import pytest

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
