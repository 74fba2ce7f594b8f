"""Processes of `torchrun` do a study together, and what they come to is that of one process."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lm import unlearn
from lm.config import StudyConfig
from lm.study import spread
from lm.training.distributed import ScaleConfig
from lm.training.loop import LoopConfig
from oversight.runs import cli

STUDY = (
    *("--config", "smoke", "--method", "era", "--expansion", "4"),
    *("--loop.steps", "4", "--loop.checkpoint-every", "2"),
)


def started(processes: int, *args: object) -> subprocess.CompletedProcess[str]:
    """Run the command in processes of `torchrun`."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*launcher, "--nproc-per-node", str(processes), "-m", "lm.unlearn", *map(str, args)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, check=False, capture_output=True, text=True, env=env)


def figures(folder: Path) -> dict[str, Any]:
    """Return the result of the one run of a study."""
    (path,) = folder.glob("runs/*/result.json")
    result: dict[str, Any] = json.loads(path.read_text())
    return result


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the study, done by one process."""
    folder = tmp_path_factory.mktemp("alone")
    assert cli.run(unlearn.main, [*STUDY, "--workers", "1", "--run-dir", str(folder)]) == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_do_a_study_as_one_does(parallel: str, alone: Path, tmp_path: Path) -> None:
    done = started(2, *STUDY, "--loop.scale.parallel", parallel, "--run-dir", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("results:") == 1
    assert done.stderr.count("0 runs finished, 1 to do") == 1
    one, two = figures(alone), figures(tmp_path)
    losses = [[loss for _, loss in each["training"]["loss"]] for each in (one, two)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    for name in ("forget_loss", "retain_loss"):
        assert two[name] == pytest.approx(one[name], abs=1e-4)
    assert not list(tmp_path.glob("runs/*/training.pt*"))
    again = started(2, "--resume", tmp_path, "--loop.scale.parallel", "ddp")
    assert again.returncode == 0, again.stderr
    assert "1 runs finished, 0 to do" in again.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--loop.scale.accumulate", "3"), "a batch of 8 rows does not"),
        (("--batch-size", "7"), "a batch of 7 rows does not"),
    ],
)
def test_what_processes_cannot_share_is_told_once(
    args: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    done = started(2, *STUDY, "--run-dir", tmp_path / "study", *args)
    assert done.returncode != 0
    assert done.stderr.count("error: ") == 1
    assert f"error: {message}" in done.stderr
    assert not (tmp_path / "study").exists()


def test_a_study_that_one_process_is_to_share_is_refused() -> None:
    study = StudyConfig(loop=LoopConfig(scale=ScaleConfig(parallel="fsdp")))
    with pytest.raises(ValueError, match=r"this one is alone: start it by `torchrun"):
        spread(study)
    with pytest.raises(ValueError, match="8 rows does not divide into 1 processes times accum"):
        spread(StudyConfig(loop=LoopConfig(scale=ScaleConfig(accumulate=3))))
