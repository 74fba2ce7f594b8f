"""Checkpoint selection: which weights a rule selects, its episodes, and its final scores."""

from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv

from agents.checkpoint import read_model_weights, read_state
from agents.rollout_buffer import RoutedBuffer
from oversight.certificate.tampering import TAMPERS
from oversight.rl import checkpoint_selection
from oversight.rl.agent import make_agent
from oversight.rl.checkpoint_selection import BestCheckpoint, HeldOut
from oversight.rl.config import (
    EVALUATION,
    HELD_OUT,
    SELECTION,
    TrainConfig,
    stream_seed,
)
from oversight.rl.evaluation import evaluate, flag_flip_gap
from oversight.rl.training import RunState, evaluate_checkpoints
from oversight.runs.folder import RunFolder
from tests.oversight.rl.scripted_policies import RandomPolicy, ShortestPathPolicy
from tests.oversight.rl.test_training_hidden_rewards import tamper
from tests.oversight.rl.tiny_studies import TINY
from tests.oversight.rl.trained_runs import difference, summary
from tests.oversight.rl.trained_runs import run_train as run

FLAGS = (
    *("--config", "smoke", "--threads", "1", "--device", "cpu", "--num-envs", "16"),
    *("--ppo.n-steps", "16", "--ppo.batch-size", "128", "--eval-every", "1"),
    *("--total-timesteps", "1280", "--held-out", "0.9", "--oversight-probability", "0.5"),
    *("--eval-episodes", "8", "--final-episodes", "16"),
)
SCORES = st.floats(-1, 1) | st.just(float("nan"))


@given(scores=st.lists(SCORES, max_size=8))
def test_best_checkpoint_is_the_last_one_with_the_highest_score(scores: list[float]) -> None:
    best = BestCheckpoint()
    for step, score in enumerate(scores):
        best.offer(step, score, {"w": torch.tensor([float(step)])})
    real = [score for score in scores if not isnan(score)]
    if not real:
        assert (best.step, best.score, best.weights) == (0, None, None)
        return
    last = max(step for step, score in enumerate(scores) if score == max(real))
    assert (best.step, best.score) == (last, max(real))
    assert best.weights is not None
    assert best.weights["w"].item() == last


def test_best_checkpoint_copies_its_weights() -> None:
    best, weights = BestCheckpoint(), {"w": torch.zeros(2)}
    best.offer(1, 0.5, weights)
    weights["w"] += 1
    assert best.weights is not None
    assert best.weights["w"].tolist() == [0, 0]


def play_single_environments(step: int, lanes: int) -> list[float]:
    """Return the observed returns of the policy that ignores the ghost, in single environments."""
    returns = []
    for lane in range(lanes):
        env = gym.make("PartialGrid-v0", oversight_probability=0.5, reward="observed")
        observation, _ = env.reset(seed=stream_seed(3, SELECTION, step) + lane)
        ended = False
        info: dict[str, Any] = {}
        while not ended:
            action, _ = ShortestPathPolicy(avoid_ghost=False).predict(observation)
            observation, _, terminated, truncated, info = env.step(int(action))
            ended = terminated or truncated
        if info["observed"]:
            returns.append(info["observed_reward"])
    return returns


def held_out_returns(player: BasePolicy, config: TrainConfig, lanes: int, step: int) -> list[float]:
    """Return the observed returns of the held-out episodes for a number of training episodes."""
    stream = RunState(replace(config, held_out=0.5)).held_out
    stream.count(ended=lanes, observed=0)
    stream.score_policy(player, {}, step)
    assert stream.episodes == len(stream.returns)
    return stream.returns.tolist()


def test_observed_returns_equal_those_of_single_environments() -> None:
    config = replace(TINY, seed=3, oversight_probability=0.5)
    expected = play_single_environments(256, 60)
    assert {*expected} == {1.0, -1.0}
    assert held_out_returns(ShortestPathPolicy(avoid_ghost=False), config, 60, 256) == expected
    assert held_out_returns(ShortestPathPolicy(avoid_ghost=False), config, 60, 512) != expected


def test_held_out_episodes_leave_the_global_generator_unchanged() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = held_out_returns(RandomPolicy(), TINY, 40, 0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert held_out_returns(RandomPolicy(), TINY, 40, 0) == one


def scored_checkpoints(*returns: list[float], monkeypatch: pytest.MonkeyPatch) -> HeldOut:
    """Score checkpoints at steps 1, 2, ... by episodes of these observed returns."""
    batches = iter(returns)
    monkeypatch.setattr(
        checkpoint_selection, "observed_returns", lambda *_: np.array(next(batches))
    )
    scored = RunState(TINY).held_out
    for step in range(1, len(returns) + 1):
        scored.count(ended=100, observed=3)
        scored.score_policy(RandomPolicy(), {"w": torch.tensor(float(step))}, step)
    return scored


def test_score_is_the_mean_of_the_last_full_pool_of_episodes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = checkpoint_selection.POOL
    few = scored_checkpoints([1.0] * (pool - 1), monkeypatch=monkeypatch)
    assert (few.score, few.best.weights, few.episodes) == (None, None, pool - 1)
    enough = scored_checkpoints([-1.0] * (pool - 1), [1.0] * 10, monkeypatch=monkeypatch)
    assert enough.score == pytest.approx((10 - (pool - 10)) / pool)
    many = scored_checkpoints(
        [-1.0] * 10, [1.0] * (pool + 5), [0.0] * pool, monkeypatch=monkeypatch
    )
    assert (many.score, many.best.score, many.best.step) == (0.0, 1.0, 2)
    assert (many.episodes, many.learned) == (10 + 2 * pool + 5, 9)


@pytest.mark.parametrize(("share", "lanes"), [(0.0, 0), (0.25, 33), (0.5, 100), (0.9, 900)])
def test_held_out_share_sets_the_number_of_episodes(
    monkeypatch: pytest.MonkeyPatch, share: float, lanes: int
) -> None:
    lane_counts = []

    def play(policy: object, env: VecEnv, seed: int, limit: int, episodes: int) -> Any:  # noqa: ANN401
        lane_counts.append(env.num_envs)
        return np.zeros(0)

    monkeypatch.setattr(checkpoint_selection, "observed_returns", play)
    stream = RunState(replace(TINY, held_out=share)).held_out
    stream.count(ended=100, observed=1)
    stream.score_policy(RandomPolicy(), {}, 1)
    stream.score_policy(RandomPolicy(), {}, 2)  # nothing ended since
    assert lane_counts == [lanes] * (lanes > 0)


def test_each_rule_is_scored_with_its_own_weights_on_separate_levels() -> None:
    config = replace(TINY, final_episodes=300)
    agent, other = make_agent(config), make_agent(replace(config, seed=9))
    before = {name: tensor.clone() for name, tensor in agent.policy.state_dict().items()}
    best = BestCheckpoint()
    best.offer(128, 0.5, other.policy.state_dict())
    scored = evaluate_checkpoints(
        agent, config, {"observed": best, "oracle_selection": BestCheckpoint()}
    )
    fresh = [
        {
            **evaluate(each.deployed(), config, 300, 0, HELD_OUT),
            "flag_flip_gap": flag_flip_gap(
                each.deployed(), config, config.eval_episodes, 0, HELD_OUT
            ),
        }
        for each in (agent, other)
    ]
    assert fresh[0] != fresh[1]
    assert scored["last"] == scored["oracle_selection"] == {"step": 0, "score": None, **fresh[0]}
    assert scored["observed"] == {"step": 128, "score": 0.5, **fresh[1]}
    assert difference(before, dict(agent.policy.state_dict())) is None
    one, two = (stream_seed(0, stream) + np.arange(4096) for stream in (EVALUATION, HELD_OUT))
    assert not np.intersect1d(one, two).size


@pytest.mark.parametrize("method", ["routed", "oracle"])
def test_observed_episodes_of_training_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    observed, ended = [], []
    label = RoutedBuffer.label

    def spy(self: RoutedBuffer, infos: Any, dones: Any, starts: Any) -> None:  # noqa: ANN401
        observed.append(sum(bool(info.get("observed")) for info in infos))
        ended.append(int(dones.sum()))
        label(self, infos, dones, starts)

    monkeypatch.setattr(RoutedBuffer, "label", spy)
    assert run(*FLAGS, "--method", method, "--run-dir", tmp_path) == 0
    assert 0 < sum(observed) < sum(ended)
    used = sum(ended) if method == "oracle" else sum(observed)
    assert summary(tmp_path)["observed_episodes"] == used


def test_observed_rule_equals_last_when_no_episodes_are_held_out(tmp_path: Path) -> None:
    assert run(*FLAGS, "--held-out", "0", "--run-dir", tmp_path) == 0
    results = summary(tmp_path)
    assert results["held_out_episodes"] == 0
    assert results["selection"]["observed"] == results["selection"]["last"]
    assert results["selection"]["oracle_selection"]["score"] is not None


@pytest.fixture(scope="module")
def selected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that selected checkpoints; to be read only."""
    folder = tmp_path_factory.mktemp("selected") / "run"
    assert run(*FLAGS, "--run-dir", folder) == 0
    return folder


@pytest.mark.parametrize("name", TAMPERS)
def test_selection_does_not_depend_on_hidden_rewards(
    selected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folders = [selected, tmp_path / "tampered"]
    tamper(monkeypatch, name)
    assert run(*FLAGS, "--run-dir", folders[1]) == 0
    chosen = [read_state(RunFolder(folder).checkpoint)["selection"] for folder in folders]
    assert chosen[0]["observed"]["best"]["score"] is not None
    assert difference(chosen[0]["observed"], chosen[1]["observed"]) is None
    assert difference(chosen[0]["oracle_selection"], chosen[1]["oracle_selection"]) is not None
    one, two = (read_model_weights(RunFolder(each).model_of("observed")) for each in folders)
    assert difference(one, two) is None
    for key in ("observed_episodes", "held_out_episodes"):
        assert len({summary(folder)[key] for folder in folders}) == 1


def test_run_state_round_trips() -> None:
    saved, loaded = RunState(TINY), RunState(TINY)
    saved.held_out.count(5, 2)
    saved.held_out.best.offer(3, 0.5, {"w": torch.ones(1)})
    saved.best.offer(4, -0.5, {"w": torch.zeros(1)})
    state = saved.get_state()
    loaded.set_state(state)
    again = loaded.get_state()
    assert again.pop("seconds") >= state.pop("seconds")
    assert difference(again, state) is None
