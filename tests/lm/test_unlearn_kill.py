"""A study that was killed goes on: no worker stays behind, and every bit is the same."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from oversight.runs.parallel import locked

pytestmark = pytest.mark.slow

METHOD = "parameters-classified"
TINY = (
    *("--method", METHOD, "--task.stories", "24", "--batch-size", "2", "--expansion", "4"),
    *("--loop.steps", "60", "--loop.warmup", "2", "--loop.checkpoint-every", "3"),
    *("--repair.steps", "2", "--repair.stories", "8", "--exam.stories", "4", "--exam.rounds", "1"),
    *("--attack.learning-rates", "2e-3", "--attack.num-examples", "2", "--attack.steps", "2"),
)
BEGUN, TRAINED = "training.pt", "trained.safetensors"
WEIGHTS = (TRAINED, "ablated.safetensors", "model.safetensors")
TIMES = ("seconds", "wall_seconds", "tokens_per_second")


def start(*args: object) -> subprocess.Popen[str]:
    """Start the command in a session of its own, its output captured."""
    return subprocess.Popen(
        [sys.executable, "-m", "lm.unlearn", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def finish(*args: object) -> str:
    """Run the command to its end, which must be good; return what it says of its progress."""
    process = start(*args)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return errors


def kill(process: subprocess.Popen[str], run: Path, seen: str, unseen: str, group: bool) -> None:
    """Kill the command, with its workers or alone, when one file is there and the other is not."""
    try:
        while not (run / seen).exists():
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.01)
        (os.killpg if group else os.kill)(process.pid, signal.SIGKILL)
        process.communicate()
    finally:
        process.kill()
    assert not (run / unseen).exists()


def told(run: Path) -> dict[str, Any]:
    """Return the result of a run, all but how long it took."""
    result: dict[str, Any] = json.loads((run / "result.json").read_text())
    return {name: value for name, value in result.items() if name not in TIMES}


def same(one: Path, other: Path) -> bool:
    """Return whether two runs ended with the same bits."""
    files = [(one / name).read_bytes() == (other / name).read_bytes() for name in WEIGHTS]
    return all(files) and told(one) == told(other)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unlearn") / "uninterrupted"
    finish("--workers", "1", "--run-dir", folder, *TINY)
    return folder / "runs" / f"{METHOD}-seed0"


def test_a_study_killed_in_training_and_in_attacks_ends_with_the_same_bits(
    uninterrupted: Path, tmp_path: Path
) -> None:
    run = tmp_path / "runs" / uninterrupted.name
    process = start("--workers", "1", "--run-dir", tmp_path, *TINY)
    kill(process, run, BEGUN, TRAINED, group=True)
    process = start("--workers", "1", "--resume", tmp_path)
    kill(process, run, "attack-same.json", "result.json", group=True)
    trained = (run / TRAINED).stat().st_mtime_ns
    said = finish("--workers", "1", "--resume", tmp_path)
    assert "0 runs finished, 1 to do" in said
    assert (run / TRAINED).stat().st_mtime_ns == trained
    assert same(run, uninterrupted)
    left = {path.name for path in run.iterdir()} ^ {path.name for path in uninterrupted.iterdir()}
    assert all(name.startswith("events.out.tfevents.") for name in left)
    assert "1 runs finished, 0 to do" in finish("--workers", "1", "--resume", tmp_path)


def test_workers_end_when_the_study_is_killed_so_that_it_can_resume_at_once(
    uninterrupted: Path, tmp_path: Path
) -> None:
    runs = [tmp_path / "runs" / f"{METHOD}-seed{seed}" for seed in (0, 1)]
    process = start("--workers", "2", "--run-dir", tmp_path, *TINY, "--seeds", "0", "1")
    kill(process, runs[0], BEGUN, TRAINED, group=False)
    for run in runs:
        with locked(run):  # within the patience of whoever goes on, no worker is at it any more
            assert not (run / "result.json").exists()
    finish("--workers", "1", "--resume", tmp_path)
    assert same(runs[0], uninterrupted)
    assert not same(runs[1], uninterrupted)


def test_two_processes_do_not_share_a_study(tmp_path: Path) -> None:
    with locked(tmp_path):
        process = start("--run-dir", tmp_path, *TINY)
        assert process.communicate()[1].splitlines() == [
            f"error: another process is working in {tmp_path}: wait until it ends, then start again"
        ]
    assert process.returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
