"""FixedHorizon: every episode has one length, and its form tells nothing of the outcome."""

import doctest
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import TimeLimit
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common import env_checker

from envs import FixedHorizon, partial_grid
from envs.wrappers import fixed_horizon

NAMES = ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1", "PartialGrid-v0"]


def test_docstring_examples_run() -> None:
    assert doctest.testmod(fixed_horizon).failed == 0


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    horizon=st.integers(1, 60),
    limit=st.integers(1, 60),
    seed=st.integers(0, 2**31),
)
def test_length_and_flags_are_constant_and_the_return_is_unchanged(
    name: str, horizon: int, limit: int, seed: int
) -> None:
    plain = TimeLimit(gym.make(name), limit)
    env = FixedHorizon(TimeLimit(gym.make(name), limit), horizon)
    env.action_space.seed(seed)
    for start in (seed, None):
        over = False
        observation, expected = env.reset(seed=start), plain.reset(seed=start)
        np.testing.assert_array_equal(observation[0], expected[0])
        assert observation[1] == {}
        for step in range(1, horizon + 1):
            action = env.action_space.sample()
            observed, reward, *form = env.step(action)
            due = 0.0
            if not over:
                last, paid, terminated, truncated, _ = plain.step(action)
                due, over = float(paid), terminated or truncated
            assert form == [False, step == horizon, {}]
            assert (type(reward), reward) == (float, due)
            np.testing.assert_array_equal(observed, last)
            assert np.asarray(observed).dtype == np.asarray(last).dtype
        with pytest.raises(ResetNeeded):
            env.step(action)


def test_outcomes_differ_only_in_reward_and_observation() -> None:
    """Seeds whose first episode ends differently; only reward and observation may differ."""
    env = FixedHorizon(
        partial_grid(horizon=6, reward="true"), 8, keep=("observed", "observed_reward")
    )
    forms, outcomes = set(), set()
    for seed in range(200):
        observation, info = env.reset(seed=seed)
        form: list[Any] = [(observation.shape, sorted(info))]
        total = 0.0
        for action in np.random.default_rng(seed).integers(4, size=8):
            observation, reward, terminated, truncated, info = env.step(action)
            kinds = sorted((name, type(value)) for name, value in info.items())
            form.append((observation.shape, observation.dtype, terminated, truncated, kinds))
            total += reward
        forms.add(repr(form))
        outcomes.add(total)
    assert outcomes == {-1.0, 0.0, 1.0}
    assert len(forms) == 1


def test_absorbing_steps_have_the_info_of_reset() -> None:
    env = FixedHorizon(
        partial_grid(oversight_probability=1.0), 64, keep=["observed", "observed_reward"]
    )
    env.reset(seed=0)
    infos = [env.step(action)[4] for action in np.random.default_rng(0).integers(4, size=64)]
    assert sum(info["observed"] for info in infos) <= 1
    assert infos[-1] == {"observed": False, "observed_reward": 0.0}


def test_absorbed_observation_stays_when_a_returned_one_is_overwritten() -> None:
    env = FixedHorizon(gym.make("CartPole-v1"), 30)
    env.reset(seed=0)
    shown = [env.step(0)[0] for _ in range(12)]
    kept = shown[-1].copy()
    shown[-1][:] = np.nan
    np.testing.assert_array_equal(env.step("ignored")[0], kept)


@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version")
@pytest.mark.filterwarnings("ignore:.*(infinity|symmetric and normalized)")  # of the bare games
@pytest.mark.parametrize("name", NAMES)
def test_both_checkers_pass_without_a_warning(name: str) -> None:
    env = FixedHorizon(gym.make(name), 40)
    check_env(env, skip_render_check=True)
    if name != "Pendulum-v1":  # SB3 warns of Pendulum's action bounds with or without the wrapper
        env_checker.check_env(env)


def test_wrapper_is_rebuilt_from_its_spec() -> None:
    env = FixedHorizon(gym.make("PartialGrid-v0", size=4), horizon=9, keep=("observed",))
    rebuilt: Any = gym.make(env.spec)  # type: ignore[arg-type]
    assert isinstance(rebuilt, FixedHorizon)
    assert (rebuilt.horizon, rebuilt.keep) == (9, ("observed",))
    assert not isinstance(rebuilt.env, FixedHorizon)


@pytest.mark.parametrize("horizon", [0, -3, 2.0, True, None, "9"])
def test_horizon_is_refused_when_not_a_positive_integer(horizon: int) -> None:
    with pytest.raises(ValueError, match=r"horizon must be .* got"):
        FixedHorizon(partial_grid(), horizon)


def test_kept_entries_are_refused_when_missing_or_not_named_by_a_sequence() -> None:
    with pytest.raises(ValueError, match=r"keep must be .* got 'observed'"):
        FixedHorizon(partial_grid(), 9, keep="observed")
    env = FixedHorizon(partial_grid(), 9, keep=["episode"])
    with pytest.raises(ValueError, match=r"no entry 'episode', only .*'observed'"):
        env.reset(seed=0)


def test_step_is_refused_before_a_reset() -> None:
    with pytest.raises(ResetNeeded):
        FixedHorizon(partial_grid(), 9).step(0)
