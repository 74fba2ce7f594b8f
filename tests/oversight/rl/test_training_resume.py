"""Resumed runs: after a kill or an interrupt, they equal an uninterrupted run bit for bit."""

import itertools
import os
import shutil
import signal
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
from tensorboard.summary.writer import event_file_writer

from agents.checkpoint import read_model_weights, read_state
from oversight.rl.callbacks import Evaluations
from oversight.rl.result_files import RULES
from oversight.runs.folder import RunFolder
from tests.oversight.rl.tensorboard_events import curves
from tests.oversight.rl.trained_runs import (
    MAZE,
    ROLLOUT,
    TINY,
    difference,
    outcome,
    rollouts,
    run_train,
    start,
    summary,
)

LONG = (
    *(*TINY, *rollouts(24), "--eval-every", "7", "--oversight-probability", "0.5"),
    *("--held-out", "0.9"),  # enough episodes to select checkpoints by
)
TOTAL = 24 * ROLLOUT


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("long") / "uninterrupted"
    assert run_train(*LONG, "--run-dir", folder) == 0
    assert all(RunFolder(folder).model_of(rule).exists() for rule in RULES)
    return folder


def resume(*args: object) -> int:
    """Resume a second later by the clock of TensorBoard, which orders files by their seconds."""
    later = SimpleNamespace(time=lambda: time.time() + 1)
    with mock.patch.object(event_file_writer, "time", later):
        return run_train(*args)


def steps(folder: Path) -> int:
    return int(read_state(RunFolder(folder).checkpoint)["agent"]["num_timesteps"])


def assert_same_run(one: Path, other: Path) -> None:
    """Assert that models, checkpoints, results and curves of two runs are bit-equal."""
    assert difference(outcome(one), outcome(other)) is None
    assert summary(one)["eval"] == summary(other)["eval"]
    for name in ("env_steps", "observed_episodes", "held_out_episodes", "selection"):
        assert summary(one)[name] == summary(other)[name]
    selections = [read_state(RunFolder(path).checkpoint)["selection"] for path in (one, other)]
    assert difference(*selections) is None
    for rule in RULES:
        saved, again = (RunFolder(path).model_of(rule) for path in (one, other))
        assert saved.exists() == again.exists()
        if saved.exists():
            assert difference(read_model_weights(saved), read_model_weights(again)) is None
    assert difference(curves(one), curves(other)) is None


def test_killed_run_resumes_to_the_same_bits(uninterrupted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    process = start(*LONG, "--run-dir", folder)
    while not RunFolder(folder).checkpoint.exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert 0 < steps(folder) < TOTAL
    assert not RunFolder(folder).model.exists()
    assert resume("--resume", folder) == 0
    assert_same_run(folder, uninterrupted)


class Kill(BaseException):
    """An exception that no code handles, in place of the death of the process."""


def at_evaluation(
    monkeypatch: pytest.MonkeyPatch, number: int, action: Callable[[], object]
) -> None:
    """Call `action` when a run begins its evaluation of that number."""
    measure, count = Evaluations.measure, itertools.count()

    def measure_or_act(self: Evaluations) -> None:
        if next(count) == number:
            action()
        measure(self)

    monkeypatch.setattr(Evaluations, "measure", measure_or_act)


def kill() -> None:
    raise Kill


KEPT = {"score-maps": "follows", "imputed-conv": "inputs"}
"""Methods that learn from boards, and a part of their reward source's state."""


@pytest.mark.parametrize(
    ("flags", "method"),
    [(TINY, "score-maps"), (MAZE, "score-maps"), (TINY, "imputed-conv")],
    ids=["PartialGrid, maps", "CornerMaze, maps", "PartialGrid, convolutions"],
)
def test_killed_run_that_learns_from_boards_resumes_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], method: str
) -> None:
    """What was remembered, the boards before the next step, and what episodes follow are kept."""
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    flags = (*flags, *rollouts(9), "--eval-every", "3", "--method", method)
    flags = (*flags, "--oversight-probability", "0.5")
    assert run_train(*flags, "--run-dir", whole) == 0
    with monkeypatch.context() as patched:
        at_evaluation(patched, 1, kill)
        with pytest.raises(Kill):
            run_train(*flags, "--run-dir", folder)
    assert 0 < steps(folder) < 9 * ROLLOUT
    source = read_state(RunFolder(folder).checkpoint)["agent"]["reward_source"]
    assert source[KEPT[method]].any()
    assert resume("--resume", folder) == 0
    assert_same_run(folder, whole)


def test_run_killed_before_its_first_checkpoint_starts_again(
    uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "killed"
    with monkeypatch.context() as patched:
        at_evaluation(patched, 2, kill)
        with pytest.raises(Kill):
            run_train(*LONG, "--run-dir", folder, "--checkpoint-every", "100000")
    assert any(path.stat().st_size > 10_000 for path in folder.rglob("events*"))
    assert not RunFolder(folder).checkpoint.exists()
    assert resume("--run-dir", folder, "--resume", "--checkpoint-every", "1") == 0
    assert_same_run(folder, uninterrupted)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_prints_how_to_resume_it(
    uninterrupted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
) -> None:
    folder = tmp_path / "a [bold] folder"
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with monkeypatch.context() as patched:
        at_evaluation(patched, 2, lambda: os.kill(os.getpid(), number))
        assert run_train(*LONG, "--run-dir", folder) == 130
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert f" -m oversight.train --resume '{folder}'\n" in capsys.readouterr().out
    results = summary(folder)
    assert results["interrupted"] is True
    assert results["env_steps"] == steps(folder) < TOTAL
    assert RunFolder(folder).model.exists()
    assert resume("--resume", folder) == 0
    assert summary(folder)["interrupted"] is False
    assert_same_run(folder, uninterrupted)


def test_resuming_a_finished_run_changes_nothing(copied: Path) -> None:
    before, points, results = outcome(copied), curves(copied), summary(copied)
    seconds = read_state(RunFolder(copied).checkpoint)["seconds"]
    assert resume("--resume", copied) == 0
    assert difference(outcome(copied), before) is None
    assert curves(copied) == points
    after = summary(copied)
    assert after["wall_seconds"] >= seconds
    for changing in ("wall_seconds", "env_steps_per_second", "commit"):
        del after[changing], results[changing]
    assert after == results


@pytest.fixture(scope="module")
def unannealed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Runs of any number of rollouts at a constant rate, since annealing depends on the number."""
    study = tmp_path_factory.mktemp("unannealed")

    @cache
    def run_of(number: int) -> Path:
        flags = (*TINY, "--ppo.no-anneal", *rollouts(number))
        assert run_train(*flags, "--run-dir", study / f"{number}") == 0
        return study / f"{number}"

    return run_of


@pytest.mark.parametrize("style", ["--resume FOLDER", "--run-dir FOLDER --resume"])
def test_finished_run_can_be_extended(
    unannealed: Callable[[int], Path], tmp_path: Path, style: str
) -> None:
    short, long = shutil.copytree(unannealed(3), tmp_path / "short"), unannealed(7)
    where = style.replace("FOLDER", str(short)).split()
    assert resume(*where, *rollouts(7)) == 0
    assert_same_run(short, long)


def test_resumed_run_accepts_its_own_settings_again(copied: Path) -> None:
    before = outcome(copied)
    own = [flag for flag in TINY if flag not in ("--config", "smoke")]
    assert resume("--resume", copied, *own, *rollouts(4)) == 0
    assert difference(outcome(copied), before) is None


def test_resumed_run_ends_at_once_when_the_total_is_smaller(copied: Path) -> None:
    before = outcome(copied)
    assert resume("--resume", copied, *rollouts(1)) == 0
    assert difference(outcome(copied), before) is None
