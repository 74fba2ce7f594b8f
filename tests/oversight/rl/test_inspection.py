"""Inspections of RL runs: ablations against independent ones, shares of gradients, views."""

from pathlib import Path

import numpy as np
import pytest
import torch

from agents.checkpoint import read_model_weights
from oversight.rl.agent import make_small_agent, task_of
from oversight.rl.config import EVALUATION, TrainConfig, stream_seed
from oversight.rl.evaluation import own_generator
from oversight.rl.inspection import RLInspection, inspect_run
from oversight.runs.folder import RunFolder, read_config
from tests.oversight.rl.trained_runs import MAZE, TINY, rollouts, run_train, train_method

EPISODES, SEED = 32, 3


def settings(run: Path) -> RLInspection:
    return RLInspection(run=run, weights="last", episodes=EPISODES, seed=SEED)


def played_without(run: Path, prefix: str) -> float:
    """Return the true return of the saved policy with parameters of a prefix set to zero."""
    config = read_config(RunFolder(run), TrainConfig)
    policy = make_small_agent(config, propensity=1.0).policy
    weights = read_model_weights(RunFolder(run).model)
    policy.load_state_dict(
        {k: torch.zeros_like(v) if k.startswith(prefix) else v for k, v in weights.items()}
    )
    policy.set_training_mode(False)
    levels = stream_seed(SEED, EVALUATION)
    with own_generator(levels):
        return task_of(config).measure(policy, EPISODES, levels)["true_return"]


def test_removed_and_zeroed_parts_are_those_of_an_independent_computation(finished: Path) -> None:
    found = inspect_run(settings(finished)).data["ablation"]
    whole = played_without(finished, "nothing")
    zeroed = played_without(finished, "mlp_extractor.mixture")
    assert found["whole"]["true_return"] == whole
    assert found["without mixture"]["true_return"] == zeroed
    assert set(found) == {
        *("whole", "whole, other actions", "without goal", "without proxy", "without mixture")
    }


def test_gate_weights_decide_what_each_route_sends(finished: Path) -> None:
    data = inspect_run(settings(finished)).data
    for route, row in data["route_table"].items():
        for module in ("goal", "proxy"):
            if row[module] == 0:
                assert data["gradient_norms"][route][module] == 0
    total = sum(row["shared"] for row in data["gradient_shares"].values())
    assert total == pytest.approx(1)


def test_inspecting_twice_gives_the_same_numbers_and_changes_no_file(finished: Path) -> None:
    before = {path: path.read_bytes() for path in finished.iterdir() if path.is_file()}
    one, other = (inspect_run(settings(finished)).data for _ in range(2))
    assert one == other
    assert {path: path.read_bytes() for path in finished.iterdir() if path.is_file()} == before


def test_a_world_shows_moves_on_free_cells_and_a_learned_reward(tmp_path: Path) -> None:
    run = tmp_path / "maze"
    assert run_train(*MAZE, *rollouts(2), "--method", "imputed-conv", "--run-dir", run) == 0
    inspection = inspect_run(settings(run))
    train, test = inspection.data["views"]
    assert (train["name"], test["name"]) == ("train", "test")
    assert len(train["scores"]["predicted reward"]) == len(train["cells"])
    np.testing.assert_allclose(np.sum(train["moves"]["motivation"], axis=1), 1, atol=1e-5)
    assert [section.anchor for section in inspection.sections][-2:] == ["moves", "scores"]


def test_an_environment_without_boards_has_no_pictures(tmp_path: Path) -> None:
    run = tmp_path / "cart"
    flags = ("--env", "CartPole-v1", "--method", "routed", "--num-envs", "2", "--device", "cpu")
    short = ("--ppo.n-steps", "32", "--ppo.batch-size", "64", "--ppo.n-epochs", "1")
    few = ("--eval-episodes", "2", "--final-episodes", "2", "--held-out", "0")
    assert run_train(*flags, *short, *few, "--total-timesteps", "64", "--run-dir", run) == 0
    chosen = RLInspection(run=run, weights="last", episodes=4, seed=SEED)
    assert [each.anchor for each in inspect_run(chosen).sections] == ["ablation", "gradients"]


def test_the_reward_map_of_a_policy_is_shown(tmp_path: Path) -> None:
    run = train_method(tmp_path / "run", "reward-map")
    (view,) = inspect_run(settings(run)).data["views"]
    assert len(view["scores"]["predicted reward"]) == 25
    assert set(view["moves"]) == {"competence", "reversed"}


def test_training_with_an_audit_gives_the_same_weights(tmp_path: Path, finished: Path) -> None:
    audited = tmp_path / "audited"
    flags = ("--audit", "--audit-every", "2", "--run-dir", audited)
    assert run_train(*TINY, *rollouts(4), *flags) == 0
    one, other = (read_model_weights(RunFolder(run).model) for run in (audited, finished))
    assert list(one) == list(other)
    assert all(torch.equal(one[name], other[name]) for name in one)
