"""Tests of a killed study: its workers end, and the resumed study has bit-identical results."""

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
from tests.lm.data.factories import write_lines
from tests.lm.text_factories import FORGET, RETAIN, tiny_model, tokenizer

pytestmark = pytest.mark.slow

METHOD = "parameters-classified"
TINY = (
    *("--method", METHOD, "--task.stories", "24", "--batch-size", "2", "--expansion", "4"),
    *("--loop.steps", "60", "--loop.warmup", "2", "--loop.checkpoint-every", "3"),
    *("--loop.audit", "--loop.audit-every", "4"),
    *("--repair.steps", "2", "--repair.stories", "8", "--exam.stories", "4", "--exam.rounds", "1"),
    *("--attack.learning-rates", "2e-3", "--attack.num-examples", "2", "--attack.steps", "2"),
)
TEXTS = (
    *("--method", "lora-pair", "--context", "40", "--adapters.rank", "2", "--workers", "1"),
    *("--loop.steps", "200", "--loop.warmup", "2", "--loop.checkpoint-every", "3"),
    *("--repair.steps", "2", "--exam.calibration.steps", "2"),
    *("--attack.learning-rates", "2e-3", "--attack.num-examples", "2", "--attack.steps", "2"),
)
STARTED, TRAINED = "training.pt", "trained.safetensors"
WEIGHTS = (TRAINED, "ablated.safetensors", "model.safetensors")
TIMES = ("seconds", "wall_seconds", "tokens_per_second")


def start(*args: object) -> subprocess.Popen[str]:
    """Start the command in a new session, with captured output."""
    return subprocess.Popen(
        [sys.executable, "-m", "lm.unlearn", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def finish(*args: object) -> str:
    """Run the command successfully to its end, and return its progress lines."""
    process = start(*args)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return errors


def kill(
    process: subprocess.Popen[str], run: Path, existing: str, missing: str, group: bool
) -> None:
    """Kill the command, with its workers if `group`, when one file exists and another does not."""
    try:
        while not (run / existing).exists():
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.01)
        (os.killpg if group else os.kill)(process.pid, signal.SIGKILL)
        process.communicate()
    finally:
        process.kill()
    assert not (run / missing).exists()


def result_without_times(run: Path) -> dict[str, Any]:
    """Return the result of a run without durations."""
    result: dict[str, Any] = json.loads((run / "result.json").read_text())
    return {name: value for name, value in result.items() if name not in TIMES}


def same(one: Path, other: Path) -> bool:
    """Return whether two runs have bit-identical weights and equal results."""
    files = [(one / name).read_bytes() == (other / name).read_bytes() for name in WEIGHTS]
    return all(files) and result_without_times(one) == result_without_times(other)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unlearn") / "uninterrupted"
    finish("--workers", "1", "--run-dir", folder, *TINY)
    return folder / "runs" / f"{METHOD}-seed0"


def test_study_killed_in_training_and_in_attacks_resumes_to_the_same_results(
    uninterrupted: Path, tmp_path: Path
) -> None:
    run = tmp_path / "runs" / uninterrupted.name
    process = start("--workers", "1", "--run-dir", tmp_path, *TINY)
    kill(process, run, STARTED, TRAINED, group=True)
    process = start("--workers", "1", "--resume", tmp_path)
    kill(process, run, "attack-same.json", "result.json", group=True)
    trained = (run / TRAINED).stat().st_mtime_ns
    progress = finish("--workers", "1", "--resume", tmp_path)
    assert "0 runs finished, 1 to do" in progress
    assert (run / TRAINED).stat().st_mtime_ns == trained
    assert same(run, uninterrupted)
    difference = {path.name for path in run.iterdir()} ^ {
        path.name for path in uninterrupted.iterdir()
    }
    assert all(name.startswith("events.out.tfevents.") for name in difference)
    assert "1 runs finished, 0 to do" in finish("--workers", "1", "--resume", tmp_path)


def test_killed_study_of_texts_resumes_to_the_same_results(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path / "model")
    tokenizer().save_pretrained(tmp_path / "model")
    given: list[object] = ["--model", tmp_path / "model", *TEXTS]
    for name, texts in (("forget", FORGET), ("retain", RETAIN)):
        lines = write_lines(tmp_path / f"{name}.jsonl", [{"text": text} for text in texts])
        given += [f"--{name}", lines]
    whole, cut = (tmp_path / name / "runs" / "lora-pair-seed0" for name in ("whole", "cut"))
    finish("--run-dir", tmp_path / "whole", *given)
    process = start("--run-dir", tmp_path / "cut", *given)
    kill(process, cut, STARTED, TRAINED, group=True)
    assert "0 runs finished, 1 to do" in finish("--resume", tmp_path / "cut")
    assert same(cut, whole)


def test_workers_end_when_their_study_is_killed(uninterrupted: Path, tmp_path: Path) -> None:
    runs = [tmp_path / "runs" / f"{METHOD}-seed{seed}" for seed in (0, 1)]
    process = start("--workers", "2", "--run-dir", tmp_path, *TINY, "--seeds", "0", "1")
    kill(process, runs[0], STARTED, TRAINED, group=False)
    for run in runs:
        with locked(run):  # no worker holds the lock any longer
            assert not (run / "result.json").exists()
    finish("--workers", "1", "--resume", tmp_path)
    assert same(runs[0], uninterrupted)
    assert not same(runs[1], uninterrupted)


def test_study_of_another_process_is_refused(tmp_path: Path) -> None:
    with locked(tmp_path):
        process = start("--run-dir", tmp_path, *TINY)
        assert process.communicate()[1].splitlines() == [
            f"error: another process is working in {tmp_path}: wait until it ends, then start again"
        ]
    assert process.returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
