"""Wrong orders of wrappers are refused with the right one."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import pytest
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv
from stable_baselines3.common.monitor import Monitor

from envs import (
    DelayedOversight,
    PartialOversight,
    partial_grid,
)
from envs.wrappers import vector


def cart() -> gym.Env[Any, Any]:
    return gym.make("CartPole-v1")


class Seedless(gym.Env[Any, Any]):
    """Takes no seed."""

    observation_space, action_space = spaces.Discrete(2), spaces.Discrete(2)

    def reset(self) -> tuple[Any, dict[str, Any]]:  # type: ignore[override]
        """Start."""
        return 0, {}


class SeedlessWrapper(gym.Wrapper[Any, Any, Any, Any]):
    """Takes no seed either."""

    def reset(self) -> tuple[Any, dict[str, Any]]:  # type: ignore[override]
        """Start."""
        return self.env.reset()


INSIDE: dict[str, tuple[Callable[[], gym.Env[Any, Any]], str]] = {
    "statistics": (
        lambda: gym.wrappers.RecordEpisodeStatistics(cart()),
        r"RecordEpisodeStatistics\(PartialOversight\(env\)\)",
    ),
    "normalized": (
        lambda: gym.wrappers.NormalizeReward(cart()),
        r"NormalizeReward\(PartialOversight\(env\)\)",
    ),
    "transformed": (
        lambda: gym.wrappers.TransformReward(cart(), lambda reward: reward),
        r"TransformReward\(PartialOversight\(env\)\)",
    ),
    "monitor": (lambda: Monitor(cart()), r"Monitor\(PartialOversight\(env\)\)"),
    "twice": (lambda: PartialOversight(cart()), "PartialOversight lies inside PartialOversight"),
    "deep": (
        lambda: gym.wrappers.FlattenObservation(gym.wrappers.RecordEpisodeStatistics(cart())),
        r"RecordEpisodeStatistics\(PartialOversight\(env\)\)",
    ),
    "delayed": (
        lambda: DelayedOversight(partial_grid(), steps=1),
        r"DelayedOversight\(PartialOversight\(env\)\)",
    ),
    "seedless": (Seedless, "Seedless.reset takes no seed"),
    "seedless wrapper": (lambda: SeedlessWrapper(cart()), "SeedlessWrapper.reset takes no seed"),
}


@pytest.mark.parametrize("case", INSIDE)
def test_wrapper_order_is_refused_when_rewards_would_leak(case: str) -> None:
    make, message = INSIDE[case]
    with pytest.raises(ValueError, match=message):
        PartialOversight(make())
    if case != "seedless":  # SyncVectorEnv refuses it first
        with pytest.raises(ValueError, match=message):
            vector.PartialOversight(SyncVectorEnv([make]))


def test_vector_statistics_are_refused_inside_oversight() -> None:
    inner = gym.wrappers.vector.RecordEpisodeStatistics(gym.make_vec("CartPole-v1", num_envs=2))
    with pytest.raises(ValueError, match=r"RecordEpisodeStatistics\(PartialOversight\(env\)\)"):
        vector.PartialOversight(inner)


def test_oversight_may_lie_inside_oversight_when_it_pays_the_truth() -> None:
    inside = partial_grid(reward="true", oversight_probability=1.0)
    env = PartialOversight(inside, observed_probability=0.0)
    env.reset(seed=0)
    steps = [env.step(action) for action in (0, 1)]
    assert all(step[4] == {"observed": False, "observed_reward": 0.0} for step in steps)
