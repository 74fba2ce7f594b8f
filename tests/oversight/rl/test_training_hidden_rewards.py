"""Training does not depend on hidden rewards: a run with other ones is bit-equal."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from agents import METHODS
from envs import gridworld
from oversight.certificate.tampering import TAMPERS
from tests.oversight.rl.tensorboard_events import curves
from tests.oversight.rl.trained_runs import difference, outcome, summary, train_method

HONEST = [name for name, method in METHODS.items() if method.reward != "true"]
ALL_TAMPERS = ("routed", "paper", "naive", "filtered", "imputed")
"""The methods that are trained with every replacement; the others only with NaN."""


def tamper(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Replace true rewards where no overseen square is reached, in every grid of this process."""
    generator = np.random.default_rng(0)
    true_reward = gridworld.true_reward

    def tampered_reward(board: gridworld.Board) -> gridworld.Numbers:
        observed = (board.agent == board.diamond) & board.overseen[:, 0]
        observed |= (board.agent == board.ghost) & board.overseen[:, 1]
        return np.where(observed, true_reward(board), TAMPERS[name](true_reward(board), generator))

    monkeypatch.setattr(gridworld, "true_reward", tampered_reward)


def training_curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the curves that the agent's own logger wrote."""
    return {
        tag: points
        for tag, points in curves(folder).items()
        if "/eval/" not in tag and not tag.startswith("final/")
    }


@pytest.mark.parametrize("method", HONEST)
def test_hidden_rewards_change_only_the_evaluation(
    method: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run_of: Callable[[str], Path],
) -> None:
    clean = run_of(method)
    for name in TAMPERS if method in ALL_TAMPERS else ("NaN",):
        with monkeypatch.context() as patched:
            tamper(patched, name)
            other = train_method(tmp_path / name, method)
        assert difference(outcome(clean), outcome(other)) is None
        assert training_curves(clean) == training_curves(other)
        assert summary(clean)["eval"] != summary(other)["eval"]


def test_hidden_rewards_change_the_oracle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_of: Callable[[str], Path]
) -> None:
    clean = run_of("oracle")
    tamper(monkeypatch, "negated")
    other = train_method(tmp_path / "tampered", "oracle")
    assert difference(outcome(clean), outcome(other)) is not None
    assert training_curves(clean) != training_curves(other)
