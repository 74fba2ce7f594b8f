"""RecordTruth changes nothing that is returned, and its ledger holds what was paid."""

import copy
import doctest
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.classic_control.pendulum import PendulumEnv
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import ClipReward, NormalizeReward, TimeLimit, TransformReward

from envs import (
    FixedHorizon,
    PartialOversight,
    RecordTruth,
    partial_grid,
    read_ledger,
    summarize_episodes,
)
from envs.wrappers import record_truth, vector

GAMES: list[tuple[str, dict[str, Any]]] = [
    ("CartPole-v1", {}),
    ("Pendulum-v1", {"max_episode_steps": 20}),
    ("FrozenLake-v1", {}),
    ("PartialGrid-v0", {"reward": "true", "oversight_probability": 0.5}),
]


def build(name: str, arguments: dict[str, Any]) -> gym.Env[Any, Any]:
    return gym.make(name, **arguments)


def frozen(value: object) -> object:
    """Return something that compares type and bits."""
    if isinstance(value, dict):
        return {key: frozen(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return tuple(frozen(each) for each in value)
    array = np.asarray(value)
    return type(value), array.dtype, array.shape, array.tobytes()


class SignReward(gym.RewardWrapper[Any, Any]):
    """Pay the sign of the reward only."""

    def reward(self, reward: Any) -> float:  # noqa: ANN401 (Gymnasium's type)
        """Return the sign."""
        return float(np.sign(reward))


def test_docstring_examples_run() -> None:
    assert doctest.testmod(record_truth).failed == 0


@pytest.mark.parametrize(("name", "arguments"), GAMES)
def test_steps_are_unchanged_and_recorded(
    name: str, arguments: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "truth.ledger"
    plain, env = build(name, arguments), RecordTruth(build(name, arguments), path)
    assert frozen(env.reset(seed=3)) == frozen(plain.reset(seed=3))
    env.action_space.seed(0)
    expected: list[tuple[float, ...]] = []
    rewards: list[float] = []
    observed: list[int] = []
    for _ in range(300):
        action = env.action_space.sample()
        returned = env.step(action)
        assert frozen(returned) == frozen(plain.step(action))
        rewards.append(float(returned[1]))
        observed.append(int(returned[4].get("observed", -1)))
        if returned[2] or returned[3]:
            ended = returned[2] + 2 * returned[3]
            number = len(expected)
            row = (0, number, sum(rewards), len(rewards), max(observed), ended)
            expected.append(row)
            rewards, observed = [], []
            assert summarize_episodes(read_ledger(path)).tolist() == expected
            assert frozen(env.reset()) == frozen(plain.reset())
    assert len(expected) > 3
    env.close()
    assert sum(read_ledger(path)["ended"] == 0) == 300 - len(expected)


def test_episode_numbers_continue_when_a_ledger_is_reopened(tmp_path: Path) -> None:
    path = tmp_path / "truth.ledger"
    for _ in range(2):
        env = RecordTruth(partial_grid(reward="true", horizon=1), path)
        for _ in range(3):
            env.reset()
            env.step(0)
        env.close()
    assert summarize_episodes(read_ledger(path))["episode"].tolist() == [0, 1, 2, 3, 4, 5]


def test_truth_is_recorded_inside_wrappers_that_hide_it(tmp_path: Path) -> None:
    path = tmp_path / "truth.ledger"
    env = SignReward(FixedHorizon(RecordTruth(gym.make("Pendulum-v1"), path), 30))
    env.reset(seed=0)
    shown = sum(float(env.step(np.zeros(1, dtype=np.float32))[1]) for _ in range(30))
    env.close()
    (episode,) = summarize_episodes(read_ledger(path))
    assert shown == -30.0
    assert episode["length"] == 30
    assert episode["true_return"] != shown


def test_returns_are_equal_in_both_orders_with_fixed_horizon(tmp_path: Path) -> None:
    inner = FixedHorizon(RecordTruth(partial_grid(reward="true"), tmp_path / "inner"), 20)
    outer = RecordTruth(FixedHorizon(partial_grid(reward="true"), 20), tmp_path / "outer")
    returns = []
    for env, name in ((inner, "inner"), (outer, "outer")):
        for seed in range(20):
            env.reset(seed=seed)
            for action in np.random.default_rng(seed).integers(4, size=20):
                env.step(action)
        env.close()
        episodes = summarize_episodes(read_ledger(tmp_path / name))
        returns.append(episodes["true_return"].tolist())
        assert (name == "outer") == (set(episodes["length"].tolist()) == {20})
    assert returns[0] == returns[1]


class OwnNormalizer(NormalizeReward[Any, Any]):
    """A normalizer, which is of the user's own, and still carries rewards on."""


def clipped(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    return ClipReward(env, -1, 1)


@pytest.mark.parametrize(
    ("wrap", "name"),
    [
        (NormalizeReward, "NormalizeReward"),
        (OwnNormalizer, "OwnNormalizer"),
        (clipped, "ClipReward"),
    ],
)
def test_environment_is_refused_when_its_reward_was_changed(
    wrap: Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]], name: str, tmp_path: Path
) -> None:
    env = TimeLimit(wrap(gym.make("CartPole-v1")), 9)
    with pytest.raises(ValueError, match=f"rewards {name} has changed: put RecordTruth"):
        RecordTruth(env, tmp_path / "truth.ledger")
    assert not (tmp_path / "truth.ledger").exists()


def test_the_reward_is_recorded_when_a_wrapper_defines_the_task(tmp_path: Path) -> None:
    env = RecordTruth(SignReward(gym.make("Pendulum-v1")), tmp_path / "truth.ledger")
    env.reset(seed=0)
    paid = [env.step(env.action_space.sample())[1] for _ in range(200)]
    env.close()
    assert set(paid) == {-1.0}
    episodes = summarize_episodes(read_ledger(tmp_path / "truth.ledger"))
    assert episodes["true_return"].tolist() == [-200.0]


def signed_task(**_: Any) -> gym.Env[Any, Any]:  # noqa: ANN401
    return paying_minus_one(PendulumEnv())


def paying_minus_one(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    return TransformReward(env, lambda _: -1.0)


def test_reward_wrappers_are_recorded_when_they_define_the_task(tmp_path: Path) -> None:
    gym.register("SignedPendulum-v0", signed_task)
    try:
        registered = gym.make("SignedPendulum-v0", max_episode_steps=9)
    finally:
        gym.registry.pop("SignedPendulum-v0")
    stated = TimeLimit(paying_minus_one(gym.make("Pendulum-v1")), 9)
    for number, (env, arguments) in enumerate(
        [(registered, {}), (stated, {"rewards_define_task": True})]
    ):
        path = tmp_path / f"{number}.ledger"
        recorded = RecordTruth(env, path, **arguments)
        recorded.reset(seed=0)
        for _ in range(9):
            recorded.step(np.zeros(1, dtype=np.float32))
        recorded.close()
        assert read_ledger(path)["reward"].tolist() == [-1.0] * 9


@pytest.mark.parametrize("wrap", [NormalizeReward, partial(PartialOversight, proxy=None)])
def test_wrappers_that_hide_or_normalize_never_define_the_task(wrap: Any, tmp_path: Path) -> None:  # noqa: ANN401
    env = SignReward(wrap(gym.make("CartPole-v1")))
    with pytest.raises(ValueError, match="RecordTruth got an environment whose rewards"):
        RecordTruth(env, tmp_path / "truth.ledger", rewards_define_task=True)
    lanes = SyncVectorEnv([lambda: env])
    with pytest.raises(ValueError, match="RecordTruth got an environment whose rewards"):
        vector.RecordTruth(lanes, tmp_path / "truth.ledger", rewards_define_task=True)


def test_lanes_whose_reward_was_changed_need_the_statement(tmp_path: Path) -> None:
    lanes = SyncVectorEnv([lambda: paying_minus_one(gym.make("Pendulum-v1"))] * 2)
    with pytest.raises(ValueError, match="rewards_define_task=True if what TransformReward pays"):
        vector.RecordTruth(lanes, tmp_path / "truth.ledger")
    vector.RecordTruth(lanes, tmp_path / "truth.ledger", rewards_define_task=True)


@pytest.mark.parametrize("reward", ["observed", "proxy"])
def test_grid_is_refused_when_it_does_not_pay_the_truth(reward: Any, tmp_path: Path) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match="rewards PartialOversight has changed"):
        RecordTruth(gym.make("PartialGrid-v0", reward=reward), tmp_path / "truth.ledger")


def test_copies_and_pickles_are_refused(tmp_path: Path) -> None:
    env = RecordTruth(partial_grid(reward="true"), tmp_path / "truth.ledger")
    for clone in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="a path of its own"):
            clone(env)
    env.close()


@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version")
def test_the_checker_passes_and_a_spec_rebuilds(tmp_path: Path) -> None:
    path = tmp_path / "truth.ledger"
    env = RecordTruth(gym.make("FrozenLake-v1"), path)
    check_env(env, skip_render_check=True)
    env.reset(seed=0)
    rebuilt = gym.make(env.spec)  # type: ignore[arg-type]
    assert isinstance(rebuilt, RecordTruth)
    with pytest.raises(ValueError, match="already has a writer"):
        rebuilt.reset(seed=0)
    env.close()
    rebuilt.reset(seed=0)
    rebuilt.close()
