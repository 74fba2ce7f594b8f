"""The bars of the main job, at full length: `pytest -m slow`."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SEEDS = range(5)
pytestmark = pytest.mark.slow


def train(folder: Path, *flags: str) -> dict[str, Any]:
    """Run the command as a user does, and return its summary."""
    command = [sys.executable, "-m", "oversight.train", "--run-dir", str(folder), *flags]
    subprocess.run(command, check=True, capture_output=True)
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


def returns(method: str, root: Path) -> list[float]:
    """Return the deployed policy's paper return for each seed."""
    runs = [train(root / str(s), "--method", method, "--seed", str(s)) for s in SEEDS]
    return [run["eval"]["deployed"]["paper_return"] for run in runs]


def test_routed_reaches_the_diamond_at_ten_percent_oversight(tmp_path: Path) -> None:
    reached = returns("routed", tmp_path)
    assert sum(reached) / len(reached) >= 0.70
    assert min(reached) >= 0.60


def test_oracle_return_is_near_the_optimum(tmp_path: Path) -> None:
    reached = returns("oracle", tmp_path)
    assert sum(reached) / len(reached) >= 0.85
