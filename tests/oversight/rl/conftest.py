"""Fixtures: runs and sweeps that many tests read, each made once."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.oversight.rl.tiny_studies import run_sweep
from tests.oversight.rl.trained_runs import train_method


@pytest.fixture(scope="session")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """From the name of a method to a finished run of it; to be read only."""

    @cache
    def trained(method: str) -> Path:
        return train_method(tmp_path_factory.mktemp(method) / "run", method)

    return trained


@pytest.fixture(scope="session")
def finished_sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep of the tiny study; to be read only."""
    folder = tmp_path_factory.mktemp("sweep") / "tiny"
    assert run_sweep("tiny", "--workers", "1", "--folder", folder) == 0
    return folder
