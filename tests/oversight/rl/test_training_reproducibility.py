"""Runs of the same seed are bit-equal, whatever is measured during training."""

from pathlib import Path

import numpy as np
import pytest
import torch

from agents.checkpoint import read_model_weights
from oversight.runs.folder import RunFolder
from tests.oversight.rl.trained_runs import TINY, difference, outcome, rollouts, run_train, summary


def train(folder: Path, *flags: str) -> Path:
    assert run_train(*TINY, *rollouts(4), "--run-dir", folder, *flags) == 0
    return folder


def test_runs_are_bit_equal_when_the_seed_is_the_same(finished: Path, tmp_path: Path) -> None:
    torch.manual_seed(99)  # whatever the state before
    np.random.seed(99)  # noqa: NPY002 (SB3's generator)
    again = train(tmp_path / "again")
    assert difference(outcome(finished), outcome(again)) is None
    assert summary(finished)["eval"] == summary(again)["eval"]


def test_runs_differ_when_the_seed_differs(finished: Path, tmp_path: Path) -> None:
    other = outcome(train(tmp_path / "other", "--seed", "1"))
    ours = outcome(finished)
    for name, weights in ours["model"].items():
        assert not torch.equal(weights, other["model"][name]), name
    levels = [each["state"]["environment"]["env.seed"] for each in (ours, other)]
    assert not np.intersect1d(*(each.numpy() for each in levels)).size  # no shared level


@pytest.mark.parametrize(
    "flags",
    [
        ("--eval-every", "1", "--eval-episodes", "33", "--held-out", "0.8"),
        ("--eval-every", "1000", "--final-episodes", "5", "--checkpoint-every", "3"),
        ("--held-out", "0"),
    ],
    ids=" ".join,
)
def test_evaluation_and_checkpoints_do_not_change_training(
    finished: Path, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    measured = train(tmp_path / "measured", *flags)
    assert difference(outcome(finished), outcome(measured)) is None


def test_training_changes_every_module(finished: Path, tmp_path: Path) -> None:
    """Show that the equalities above are not those of weights that never change."""
    longer = tmp_path / "longer"
    assert run_train(*TINY, *rollouts(6), "--run-dir", longer) == 0
    ours, other = (read_model_weights(RunFolder(path).model) for path in (finished, longer))
    for name, weights in ours.items():
        assert not torch.equal(weights, other[name]), name
