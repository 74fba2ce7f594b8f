"""A noisy overseer errs at the declared rates in training, and in no measurement."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents import VectorEnvAdapter
from envs.gridworld import NoiseConfig
from oversight.rl.agent import make_agent, task_of
from oversight.rl.checkpoint_selection import observed_returns
from oversight.rl.evaluation import evaluate
from tests.oversight.rl.scripted_policies import ShortestPathPolicy
from tests.oversight.rl.test_training_resume import assert_same_run, resume
from tests.oversight.rl.tiny_studies import TINY
from tests.oversight.rl.trained_runs import TINY as FLAGS
from tests.oversight.rl.trained_runs import difference, outcome, rollouts, run_train, summary

EXACT = replace(TINY, oversight_probability=0.5)
NOISY = replace(EXACT, noise=NoiseConfig(flips=0.3, false_positive=0.4, dropped=0.2))
NOISE = ("--noise.flips", "0.3", "--noise.false-positive", "0.4", "--noise.dropped", "0.2")
LANES = 2048
LONG = (*FLAGS, "--oversight-probability", "0.5", "--held-out", "0.9", "--ppo.no-anneal")


def random_episode_ends(reward: Any) -> dict[str, Any]:  # noqa: ANN401
    """Play random actions; return the rewards and reports of episodes that end at a terminal."""
    noisy = task_of(NOISY).make_env(LANES, reward)
    exact = task_of(EXACT).make_env(LANES, "observed")
    truthful = task_of(EXACT).make_env(LANES, "true")
    for env in (noisy, exact, truthful):
        env.reset(seed=5)
    ends: dict[str, list[Any]] = {
        "overseen": [],
        "reported": [],
        "report": [],
        "paid": [],
        "true": [],
    }
    for actions in np.random.default_rng(0).integers(4, size=(100, LANES)):
        _, paid, terminated, _, infos = noisy.step(actions)
        _, _, _, _, exact_infos = exact.step(actions)
        _, true, _, _, _ = truthful.step(actions)
        assert not paid[~terminated].any()
        ends["overseen"].append(exact_infos["final_info"]["observed"][terminated])
        ends["reported"].append(infos["final_info"]["observed"][terminated])
        ends["report"].append(infos["final_info"]["observed_reward"][terminated])
        ends["paid"].append(paid[terminated])
        ends["true"].append(true[terminated])
    return {name: np.concatenate(parts) for name, parts in ends.items()}


def assert_share(mask: np.ndarray[Any, np.dtype[np.bool_]], share: float) -> None:
    """Assert that a share lies within four standard deviations of the declared one."""
    assert mask.size > 1000
    assert abs(mask.mean() - share) < 4 * (share * (1 - share) / mask.size) ** 0.5


def test_reports_have_the_declared_error_rates() -> None:
    ends = random_episode_ends("observed")
    reported, true, report = ends["reported"], ends["true"], ends["report"]
    assert not (reported & ~ends["overseen"]).any()
    assert_share(reported[ends["overseen"]], 0.8)
    assert_share(report[reported & (true > 0)] < 0, 0.3)
    assert_share(report[reported & (true < 0)] > 0, 1 - 0.7 * 0.6)
    assert np.array_equal(ends["paid"], np.where(reported, report, 1.0))
    assert not report[~reported].any()


def test_rewards_are_unreported_only_in_unseen_rows() -> None:
    with_blind_spot = task_of(replace(EXACT, noise=NoiseConfig(unseen_rows=2))).make_env(
        LANES, "observed"
    )
    exact = task_of(EXACT).make_env(LANES, "observed")
    for env in (with_blind_spot, exact):
        env.reset(seed=5)
    dropped = 0
    for actions in np.random.default_rng(0).integers(4, size=(50, LANES)):
        *_, exact_infos = exact.step(actions)
        _, paid, terminated, _, infos = with_blind_spot.step(actions)
        at = np.argmax(infos["final_obs"][terminated][:, 0].reshape(-1, 25), axis=1) // 5
        reported, overseen = (
            each["final_info"]["observed"][terminated] for each in (infos, exact_infos)
        )
        assert np.array_equal(reported, overseen & (at >= 2))
        assert (paid[terminated][~reported] == 1).all()
        dropped += (overseen & (at < 2)).sum()
    assert dropped > 100


def test_noise_changes_the_observed_reward_and_not_the_proxy() -> None:
    ends = random_episode_ends("proxy")
    assert (ends["paid"] == 1).all()
    assert {-1.0, 0.0, 1.0} == set(ends["report"])
    assert np.array_equal(ends["report"], random_episode_ends("observed")["report"])


def test_selection_uses_noisy_reports_and_evaluation_true_rewards() -> None:
    inverted = replace(EXACT, noise=NoiseConfig(flips=1.0))
    reported, true = (
        observed_returns(
            ShortestPathPolicy(),
            VectorEnvAdapter(task_of(config).make_env(64, "observed")),
            0,
            limit=99,
        )
        for config in (inverted, EXACT)
    )
    assert (true == 1).all()
    assert np.array_equal(reported, -true)
    assert evaluate(ShortestPathPolicy(), inverted, 64, 0) == evaluate(
        ShortestPathPolicy(), EXACT, 64, 0
    )


def train(folder: Path, method: str, *noise: str) -> Path:
    """Train a method for three rollouts; return the folder."""
    flags = (*LONG, *rollouts(3), "--method", method, *noise)
    assert run_train(*flags, "--run-dir", folder) == 0
    return folder


@pytest.fixture(scope="module", params=["routed", "signed", "imputed"])
def exact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without noise of a method that learns from reports."""
    return train(tmp_path_factory.mktemp(request.param) / request.param, request.param)


def test_training_is_bit_equal_when_the_noisy_overseer_makes_no_error(
    exact: Path, tmp_path: Path
) -> None:
    folders = [exact, train(tmp_path / "noiseless", exact.name, "--noise.flips", "1e-300")]
    learned = [outcome(folder) for folder in folders]
    for each in learned:
        del each["state"]["environment"]  # the observer's own counts are in one of them
    assert difference(learned[0], learned[1]) is None
    for name in ("eval", "selection"):
        assert summary(folders[0])[name] == summary(folders[1])[name]


def test_noise_changes_methods_that_learn_from_reports(exact: Path, tmp_path: Path) -> None:
    noisy = train(tmp_path / "noisy", exact.name, *NOISE)
    assert difference(outcome(exact)["model"], outcome(noisy)["model"]) is not None


@pytest.mark.parametrize("method", ["oracle", "oracle-sampled"])
def test_noise_does_not_change_an_oracle(tmp_path: Path, method: str) -> None:
    folders = train(tmp_path / "exact", method), train(tmp_path / "noisy", method, *NOISE)
    assert_same_run(*folders)


def test_noisy_run_resumes_bit_for_bit(tmp_path: Path) -> None:
    short, long = tmp_path / "short", tmp_path / "long"
    assert run_train(*LONG, *NOISE, *rollouts(3), "--run-dir", short) == 0
    assert run_train(*LONG, *NOISE, *rollouts(7), "--run-dir", long) == 0
    assert resume("--resume", short, *rollouts(7)) == 0
    assert_same_run(short, long)


def test_propensity_accounts_for_dropped_reports() -> None:
    assert make_agent(replace(NOISY, method="ipw")).propensity == 0.5 * 0.8
    assert make_agent(replace(NOISY, method="oracle-sampled")).propensity == 0.5
