"""A run that was killed or interrupted goes on to the bits of one that was not."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.checkpoint import read_model_weights, read_state
from oversight.rl.result_files import RULES
from oversight.runs.folder import RunFolder
from tests.oversight.rl.tensorboard_events import curves
from tests.oversight.rl.trained_runs import (
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
    *(*TINY, *rollouts(40), "--eval-every", "7", "--oversight-probability", "0.5"),
    *("--held-out", "0.9"),  # enough of it to choose checkpoints by
)
TOTAL = 40 * ROLLOUT


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("long") / "uninterrupted"
    assert run_train(*LONG, "--run-dir", folder) == 0
    assert all(RunFolder(folder).model_of(rule).exists() for rule in RULES)
    return folder


def stop(
    folder: Path, when: Callable[[], bool], number: signal.Signals, *flags: str
) -> subprocess.CompletedProcess[str]:
    """Start the long run, and send it a signal once something is so."""
    process = start(*LONG, "--run-dir", folder, *flags)
    try:
        while not when():
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.002)
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def resume(*args: object) -> int:
    """Resume in a second after the last, since TensorBoard orders files by their names' seconds."""
    time.sleep(1 - time.time() % 1)
    return run_train(*args)


def steps(folder: Path) -> int:
    return int(read_state(RunFolder(folder).checkpoint)["agent"]["num_timesteps"])


def assert_same_run(one: Path, other: Path) -> None:
    assert difference(outcome(one), outcome(other)) is None
    assert summary(one)["eval"] == summary(other)["eval"]
    for name in ("env_steps", "observed_episodes", "held_out_episodes", "selection"):
        assert summary(one)[name] == summary(other)[name]
    chosen = [read_state(RunFolder(path).checkpoint)["selection"] for path in (one, other)]
    assert difference(*chosen) is None
    for rule in RULES:
        saved, again = (RunFolder(path).model_of(rule) for path in (one, other))
        assert saved.exists() == again.exists()
        if saved.exists():
            assert difference(read_model_weights(saved), read_model_weights(again)) is None
    assert difference(curves(one), curves(other)) is None


def test_a_killed_run_goes_on_bit_for_bit(uninterrupted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    done = stop(folder, RunFolder(folder).checkpoint.exists, signal.SIGKILL)
    assert done.returncode == -signal.SIGKILL
    assert 0 < steps(folder) < TOTAL
    assert not RunFolder(folder).model.exists()
    assert resume("--resume", folder) == 0
    assert_same_run(folder, uninterrupted)


def test_a_run_killed_before_its_first_checkpoint_starts_again(
    uninterrupted: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "killed"

    def has_curves() -> bool:
        return any(path.stat().st_size > 10_000 for path in folder.glob("events*"))

    never = ("--checkpoint-every", "100000")
    assert stop(folder, has_curves, signal.SIGKILL, *never).returncode == -signal.SIGKILL
    assert not RunFolder(folder).checkpoint.exists()
    assert resume("--run-dir", folder, "--resume", "--checkpoint-every", "1") == 0
    assert_same_run(folder, uninterrupted)


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_an_interrupted_run_says_how_to_go_on(
    uninterrupted: Path, tmp_path: Path, number: signal.Signals
) -> None:
    folder = tmp_path / "a [bold] folder"
    done = stop(folder, RunFolder(folder).checkpoint.exists, number)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert f" -m oversight.train --resume '{folder}'\n" in done.stdout
    results = summary(folder)
    assert results["interrupted"] is True
    assert results["env_steps"] == steps(folder) < TOTAL
    assert RunFolder(folder).model.exists()
    assert resume("--resume", folder) == 0
    assert summary(folder)["interrupted"] is False
    assert_same_run(folder, uninterrupted)


def test_resuming_a_finished_run_is_harmless(copied: Path) -> None:
    before, shown, results = outcome(copied), curves(copied), summary(copied)
    seconds = read_state(RunFolder(copied).checkpoint)["seconds"]
    assert resume("--resume", copied) == 0
    assert difference(outcome(copied), before) is None
    assert curves(copied) == shown
    after = summary(copied)
    assert after["wall_seconds"] >= seconds
    for changing in ("wall_seconds", "env_steps_per_second", "commit"):
        del after[changing], results[changing]
    assert after == results


@pytest.mark.parametrize("style", ["--resume FOLDER", "--run-dir FOLDER --resume"])
def test_a_finished_run_can_be_extended(copied: Path, tmp_path: Path, style: str) -> None:
    # at a constant rate, since an annealed one depends on where training ends
    flags = (*TINY, "--ppo.no-anneal")
    short, long = tmp_path / "short", tmp_path / "long"
    assert run_train(*flags, *rollouts(3), "--run-dir", short) == 0
    assert run_train(*flags, *rollouts(7), "--run-dir", long) == 0
    where = style.replace("FOLDER", str(short)).split()
    assert resume(*where, *rollouts(7)) == 0
    assert_same_run(short, long)


def test_a_resumed_run_may_repeat_its_own_settings(copied: Path) -> None:
    before = outcome(copied)
    own = [flag for flag in TINY if flag not in ("--config", "smoke")]
    assert resume("--resume", copied, *own, *rollouts(4)) == 0
    assert difference(outcome(copied), before) is None


def test_a_smaller_total_ends_at_once(copied: Path) -> None:
    before = outcome(copied)
    assert resume("--resume", copied, *rollouts(1)) == 0
    assert difference(outcome(copied), before) is None
