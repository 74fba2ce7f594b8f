"""The presets of Gym's SemisuperPendulum: their oversight, without that task's leaks, and learning.

Gym's task put the true reward into `info`, and drew its oversight from the generator from which
the pendulum draws its episodes.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from agents import METHODS
from configs.rl import PRESETS
from envs.observers import GaussianNoise, Observer, StepCoin, StepDecay
from envs.wrappers.vector.infos import parse_step_infos
from oversight import certify
from oversight.rl.agent import require_trainable, task_of
from oversight.rl.config import TrainConfig, presets_for
from oversight.rl.environment import make_lanes, observer_of
from oversight.runs import cli
from oversight.runs.folder import RunFolder
from tests.oversight.rl.trained_runs import difference, outcome, run_train, summary

OBSERVERS: dict[str, Observer] = {
    "random": StepCoin(0.1),
    "noise": GaussianNoise(StepCoin(1.0), 3),
    "decay": StepDecay(0.999),
}
EPISODE = 200
TINY = (
    *("--num-envs", "2", "--ppo.n-steps", "32", "--ppo.batch-size", "64", "--ppo.n-epochs", "1"),
    *("--total-timesteps", "128", "--eval-episodes", "2", "--final-episodes", "2"),
    *("--threads", "1", "--device", "cpu"),
)


def preset(name: str) -> TrainConfig:
    """Return the settings of a preset, with the seed 0."""
    settings = presets_for([], PRESETS)[f"semisuper-pendulum-{name}"][1]
    return cli.override(TrainConfig(), settings)


class Played(NamedTuple):
    """Some steps under oversight, [steps, lanes], beside the same ones without any."""

    true: NDArray[np.float64]
    paid: NDArray[np.float64]
    observed: NDArray[np.bool_]
    reported: NDArray[np.float64]
    infos: list[Mapping[str, Any]]


def play(name: str, steps: int) -> Played:
    """Act by chance under the oversight of a preset and without it, and compare what happens."""
    config = preset(name)
    env = task_of(config).make_env(config.num_envs, "observed")
    plain = make_lanes(config, config.num_envs)
    draw = np.random.default_rng(0)
    rows: list[tuple[Any, ...]] = []
    shown, infos = env.reset(seed=7)
    np.testing.assert_array_equal(shown, plain.reset(seed=7)[0])
    said: list[Mapping[str, Any]] = [infos]
    for _ in range(steps):
        actions = draw.uniform(-2, 2, (config.num_envs, 1)).astype(np.float32)
        shown, paid, _, truncated, infos = env.step(actions)
        bare, true, _, ended, _ = plain.step(actions)
        np.testing.assert_array_equal(shown, bare)
        np.testing.assert_array_equal(truncated, ended)
        rows.append((true, paid, *parse_step_infos(infos, ended if ended.any() else None)))
        said.append(infos)
    assert generators(env) == generators(plain)
    true, paid, observed, reported = (np.array(column) for column in zip(*rows, strict=True))
    return Played(true, paid, observed, reported, said)


def generators(env: Any) -> list[dict[str, Any]]:  # noqa: ANN401 (any vector environment)
    """Return the state of the generator of every lane's pendulum."""
    return [dict(lane.unwrapped.np_random.bit_generator.state) for lane in env.unwrapped.envs]


def numbers_in(infos: Mapping[str, Any]) -> set[float]:
    """Return all numbers that some infos hold, except those of observations."""
    found: set[float] = set()
    for name, part in infos.items():
        if isinstance(part, Mapping):
            found |= numbers_in(part)
        elif "obs" not in name or "observed" in name:
            found |= {float(number) for number in np.ravel(part)}
    return found


@pytest.mark.parametrize("name", OBSERVERS)
def test_preset_observes_as_gym_did(name: str) -> None:
    assert observer_of(preset(name)) == OBSERVERS[name]


@pytest.mark.parametrize("name", OBSERVERS)
def test_oversight_neither_changes_the_pendulum_nor_its_generator(name: str) -> None:
    played = play(name, 2 * EPISODE + 10)
    assert np.ptp(played.true) > 1  # the pendulum moved


@pytest.mark.parametrize("name", ["random", "decay"])
def test_observed_steps_pay_the_true_reward_and_hidden_ones_zero(name: str) -> None:
    played = play(name, 2 * EPISODE)
    assert 0 < played.observed.sum() < played.observed.size
    np.testing.assert_allclose(
        played.paid, np.where(played.observed, played.true, 0.0), rtol=1e-6, atol=0
    )


def test_noise_of_deviation_three_is_on_every_report() -> None:
    played = play("noise", 4 * EPISODE)
    assert played.observed.all()
    np.testing.assert_array_equal(played.paid, played.reported)
    noise = played.reported - played.true
    assert abs(noise.mean()) < 5 * 3 / np.sqrt(noise.size)
    assert abs(noise.std() - 3) < 5 * 3 / np.sqrt(2 * noise.size)
    assert abs(np.corrcoef(noise.ravel(), played.true.ravel())[0, 1]) < 5 / np.sqrt(noise.size)


@pytest.mark.parametrize("name", OBSERVERS)
def test_infos_do_not_hold_the_true_reward_of_a_hidden_or_noisy_step(name: str) -> None:
    played = play(name, 2 * EPISODE)
    said = set().union(*map(numbers_in, played.infos))
    secret = played.true if name == "noise" else played.true[~played.observed]
    assert secret.size > 50
    assert said.isdisjoint(secret.ravel().tolist())
    assert said.isdisjoint(secret.ravel().astype(np.float32).tolist())
    assert said >= {*played.reported.ravel().tolist()}  # what they do hold


def test_decay_counts_the_steps_of_all_episodes() -> None:
    """The expectation of the steps observed is a geometric series, 1,000 without an end."""
    steps = 5 * EPISODE
    played = play("decay", steps)
    chances = 0.999 ** np.arange(steps)
    expected = (1 - 0.999**steps) / (1 - 0.999)
    assert chances.sum() == pytest.approx(expected)
    deviation = np.sqrt((chances * (1 - chances)).sum())
    assert played.observed.shape == (steps, 1)
    assert abs(played.observed.sum() - expected) < 4 * deviation
    begun_anew = 5 * chances[:EPISODE].sum()
    assert begun_anew - expected > 10 * deviation


@pytest.mark.parametrize("name", OBSERVERS)
def test_preset_trains(name: str, tmp_path: Path) -> None:
    flags = ("--config", f"semisuper-pendulum-{name}", *TINY)
    assert run_train(*flags, "--run-dir", tmp_path / "run") == 0
    assert summary(tmp_path / "run")["method"] == "imputed"
    assert summary(tmp_path / "run")["held_out_episodes"] == 0
    assert not RunFolder(tmp_path / "run").model_of("observed").exists()


def test_naive_is_uds_where_no_proxy_is_given(tmp_path: Path) -> None:
    for method in ("naive", "uds"):
        flags = ("--config", "semisuper-pendulum-random", *TINY, "--method", method)
        assert run_train(*flags, "--run-dir", tmp_path / method) == 0
    naive, uds = (outcome(tmp_path / method)["model"] for method in ("naive", "uds"))
    assert difference(naive, uds) is None


@pytest.mark.parametrize("name", OBSERVERS)
def test_methods_that_lack_something_are_refused_with_the_reason(name: str) -> None:
    lacking = {
        "the probability that the end of an episode is observed": (
            *("filtered-coin", "ipw", "oracle-sampled"),
        ),
        "learns from a proxy reward, and Pendulum-v1 has none": ("paper", "signed", "motivated"),
        "observations that are stacks of planes": ("score-maps", "score-maps-unrouted"),
    }
    reasons = {method: reason for reason, methods in lacking.items() for method in methods}
    for method in METHODS:
        config = replace(preset(name), method=method, device="cpu")
        if method not in reasons:
            require_trainable(config)
            continue
        with pytest.raises(ValueError, match=reasons[method]) as refusal:
            require_trainable(config)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "code"), [("random", 0), ("noise", certify.INCONCLUSIVE), ("decay", 0)]
)
def test_preset_is_certified_where_it_hides_a_step(
    name: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.reward_model.STEPS", 4)
    config = preset(name)
    assert isinstance(config.observer, str)
    flags = (
        *("--env", config.env, "--method", config.method, "--observer", config.observer),
        *("--oversight-probability", str(config.oversight_probability), "--num-envs", "4"),
        *("--steps", "256", "--ppo.n-steps", "32", "--ppo.batch-size", "64"),
        *("--ppo.hidden-sizes", "8"),
    )
    assert cli.run(certify.main, list(flags)) == code


@pytest.mark.slow
def test_oracle_learns_to_balance(tmp_path: Path) -> None:
    flags = ("--config", "semisuper-pendulum-random", "--method", "oracle", "--device", "cpu")
    assert run_train(*flags, "--run-dir", tmp_path / "run") == 0
    assert summary(tmp_path / "run")["eval"]["deployed"]["true_return"] > -250
