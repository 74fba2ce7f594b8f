"""An overseer who errs: at the declared rates, in what is learned from, and in no measurement."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents import VectorEnvAdapter
from envs.gridworld import NoiseConfig
from oversight.rl.checkpoint_selection import observed_returns
from oversight.rl.config import make_agent, make_env
from oversight.rl.evaluation import evaluate
from tests.oversight.rl.scripted_policies import Walker
from tests.oversight.rl.test_training_resume import assert_same_run, resume
from tests.oversight.rl.tiny_studies import TINY
from tests.oversight.rl.trained_runs import TINY as FLAGS
from tests.oversight.rl.trained_runs import difference, outcome, rollouts, run_train, summary

WATCHED = replace(TINY, oversight_probability=0.5)
ERRING = replace(WATCHED, noise=NoiseConfig(flips=0.3, false_positive=0.4, dropped=0.2))
NOISE = ("--noise.flips", "0.3", "--noise.false-positive", "0.4", "--noise.dropped", "0.2")
LANES = 2048
LONG = (*FLAGS, "--oversight-probability", "0.5", "--held-out", "0.9", "--ppo.no-anneal")


def ends(reward: Any) -> dict[str, Any]:  # noqa: ANN401
    """Play by chance; return what was told and paid at ends in a terminal, and the truth there."""
    erring = make_env(ERRING, LANES, reward)
    exact = make_env(WATCHED, LANES, "observed")
    truthful = make_env(WATCHED, LANES, "true")
    for env in (erring, exact, truthful):
        env.reset(seed=5)
    found: dict[str, list[Any]] = {"watched": [], "told": [], "report": [], "paid": [], "true": []}
    for actions in np.random.default_rng(0).integers(4, size=(100, LANES)):
        _, paid, terminated, _, infos = erring.step(actions)
        _, _, _, _, plain = exact.step(actions)
        _, true, _, _, _ = truthful.step(actions)
        assert not paid[~terminated].any()
        found["watched"].append(plain["final_info"]["observed"][terminated])
        found["told"].append(infos["final_info"]["observed"][terminated])
        found["report"].append(infos["final_info"]["observed_reward"][terminated])
        found["paid"].append(paid[terminated])
        found["true"].append(true[terminated])
    return {name: np.concatenate(parts) for name, parts in found.items()}


def assert_share(mask: np.ndarray[Any, np.dtype[np.bool_]], share: float) -> None:
    """Require a share within four standard deviations of a declared one."""
    assert mask.size > 1000
    assert abs(mask.mean() - share) < 4 * (share * (1 - share) / mask.size) ** 0.5


def test_reports_err_at_the_declared_rates() -> None:
    seen = ends("observed")
    told, true, report = seen["told"], seen["true"], seen["report"]
    assert not (told & ~seen["watched"]).any()
    assert_share(told[seen["watched"]], 0.8)
    assert_share(report[told & (true > 0)] < 0, 0.3)
    assert_share(report[told & (true < 0)] > 0, 1 - 0.7 * 0.6)
    assert np.array_equal(seen["paid"], np.where(told, report, 1.0))
    assert not report[~told].any()


def test_nothing_is_reported_from_a_blind_spot_and_all_of_the_rest() -> None:
    blind = make_env(replace(WATCHED, noise=NoiseConfig(unseen_rows=2)), LANES, "observed")
    exact = make_env(WATCHED, LANES, "observed")
    for env in (blind, exact):
        env.reset(seed=5)
    silenced = 0
    for actions in np.random.default_rng(0).integers(4, size=(50, LANES)):
        *_, plain = exact.step(actions)
        _, paid, terminated, _, infos = blind.step(actions)
        at = np.argmax(infos["final_obs"][terminated][:, 0].reshape(-1, 25), axis=1) // 5
        told, would = (each["final_info"]["observed"][terminated] for each in (infos, plain))
        assert np.array_equal(told, would & (at >= 2))
        assert (paid[terminated][~told] == 1).all()
        silenced += (would & (at < 2)).sum()
    assert silenced > 100


def test_the_proxy_is_paid_as_without_noise_and_reports_come_beside_it() -> None:
    seen = ends("proxy")
    assert (seen["paid"] == 1).all()
    assert {-1.0, 0.0, 1.0} == set(seen["report"])
    assert np.array_equal(seen["report"], ends("observed")["report"])


def test_a_choice_hears_the_reports_and_a_measurement_the_truth() -> None:
    inverted = replace(WATCHED, noise=NoiseConfig(flips=1.0))
    heard, true = (
        observed_returns(Walker(), VectorEnvAdapter(make_env(config, 64, "observed")), 0, limit=99)
        for config in (inverted, WATCHED)
    )
    assert (true == 1).all()
    assert np.array_equal(heard, -true)
    assert evaluate(Walker(), inverted, 64, 0) == evaluate(Walker(), WATCHED, 64, 0)


@pytest.mark.parametrize("method", ["routed", "signed", "imputed"])
def test_an_overseer_who_could_err_and_does_not_changes_no_bit(tmp_path: Path, method: str) -> None:
    learned, results = [], []
    for never in ("0", "1e-300"):
        folder = tmp_path / never
        flags = (*LONG, *rollouts(4), "--method", method, "--noise.flips", never)
        assert run_train(*flags, "--run-dir", folder) == 0
        found = outcome(folder)
        del found["state"]["environment"]  # the observer's own counts are in one of them
        learned.append(found)
        results.append([summary(folder)[name] for name in ("eval", "selection")])
    assert difference(learned[0], learned[1]) is None
    assert results[0] == results[1]


@pytest.mark.parametrize("method", ["routed", "signed", "imputed"])
def test_noise_reaches_every_method_that_listens(tmp_path: Path, method: str) -> None:
    for name, noise in (("exact", ()), ("noisy", NOISE)):
        flags = (*LONG, *rollouts(3), "--method", method, *noise)
        assert run_train(*flags, "--run-dir", tmp_path / name) == 0
    one, other = (outcome(tmp_path / name)["model"] for name in ("exact", "noisy"))
    assert difference(one, other) is not None


@pytest.mark.parametrize("method", ["oracle", "oracle-sampled"])
def test_noise_does_not_touch_an_oracle(tmp_path: Path, method: str) -> None:
    for name, noise in (("exact", ()), ("noisy", NOISE)):
        flags = (*LONG, *rollouts(3), "--method", method, *noise)
        assert run_train(*flags, "--run-dir", tmp_path / name) == 0
    assert_same_run(tmp_path / "exact", tmp_path / "noisy")


def test_a_noisy_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    short, long = tmp_path / "short", tmp_path / "long"
    assert run_train(*LONG, *NOISE, *rollouts(3), "--run-dir", short) == 0
    assert run_train(*LONG, *NOISE, *rollouts(7), "--run-dir", long) == 0
    assert resume("--resume", short, *rollouts(7)) == 0
    assert_same_run(short, long)


def test_weights_know_that_reports_are_lost() -> None:
    assert make_agent(replace(ERRING, method="ipw")).propensity == 0.5 * 0.8
    assert make_agent(replace(ERRING, method="oracle-sampled")).propensity == 0.5
