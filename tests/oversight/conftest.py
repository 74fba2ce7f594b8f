"""Fixtures: one finished run that tests may read, and copies that they may change."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.oversight.runs import TINY, rollouts, run_train


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Give PyTorch's threads back, which the commands set."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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
