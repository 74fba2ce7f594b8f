"""Observed returns in an environment whose rewards identify lane, episode and step."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv

from agents import VectorEnvAdapter
from envs import PartialOversight, Region
from envs.wrappers import vector
from oversight.rl.checkpoint_selection import observed_returns
from tests.oversight.certificate.numbered_rewards import (
    EvenEpisodes,
    FirstSteps,
    NumberedRewards,
    SecondArrivals,
    length,
    pay,
)

LANES = 7
NO_LIMIT = 100
IsObserved = Callable[[int, int], bool]
"""Whether the overseer sees a lane's step, in its first episode."""

CASES: dict[str, tuple[Any, IsObserved]] = {
    "every step": (EvenEpisodes(), lambda lane, step: True),
    "first steps": (FirstSteps(), lambda lane, step: step == 0),
    "second steps": (SecondArrivals(), lambda lane, step: step == 1),
    "fourth steps": (
        Region(lambda seen: np.atleast_2d(seen)[:, 2] == 4, at="arrival"),
        lambda lane, step: step == 3,
    ),
    "no step": (~EvenEpisodes(), lambda lane, step: False),
}


class RecordingPolicy(BasePolicy):
    """A policy that always takes action 0 and records its observations."""

    def __init__(self) -> None:
        env = NumberedRewards()
        super().__init__(env.observation_space, env.action_space)
        self.recorded: list[Any] = []

    def _predict(self, observation: Any, deterministic: bool = False) -> torch.Tensor:  # noqa: ANN401
        self.recorded.append(observation.numpy().astype(int).tolist())
        return torch.zeros(len(observation), dtype=torch.int64)


def make_lanes(observer: Any, wrapper: str, mode: AutoresetMode) -> VecEnv:  # noqa: ANN401
    """Return lanes of the environment, with one wrapper around all of them or one in each."""
    if wrapper == "vector":
        inside = SyncVectorEnv([NumberedRewards] * LANES, autoreset_mode=mode)
        return VectorEnvAdapter(vector.PartialOversight(inside, observer=observer))
    lanes = [lambda: PartialOversight(NumberedRewards(), observer=observer)] * LANES
    return VectorEnvAdapter(SyncVectorEnv(lanes, autoreset_mode=mode))


def expected_returns(is_observed: IsObserved, limit: int = NO_LIMIT) -> list[float]:
    """Return the observed return of each lane's first episode, where a step is observed."""
    returns = []
    for lane in range(LANES):
        steps = range(min(length(lane), limit))
        observed = [pay(lane, 0, step) for step in steps if is_observed(lane, step)]
        if observed:
            returns.append(sum(observed))
    return returns


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("wrapper", ["vector", "single"])
@pytest.mark.parametrize("mode", AutoresetMode)
def test_observed_returns_are_sums_of_observed_rewards(
    mode: AutoresetMode, wrapper: str, case: str
) -> None:
    observer, is_observed = CASES[case]
    returns = observed_returns(RecordingPolicy(), make_lanes(observer, wrapper, mode), 0, NO_LIMIT)
    assert returns.tolist() == expected_returns(is_observed)
    assert len(returns) == {"no step": 0, "fourth steps": 2}.get(case, LANES)


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("limit", [1, 3])
def test_observed_returns_stop_at_the_step_limit(mode: AutoresetMode, limit: int) -> None:
    observer, is_observed = CASES["every step"]
    policy = RecordingPolicy()
    returns = observed_returns(policy, make_lanes(observer, "vector", mode), 0, limit)
    assert returns.tolist() == expected_returns(is_observed, limit)
    assert len(policy.recorded) == limit


def test_policy_acts_only_in_unfinished_episodes() -> None:
    policy, env = RecordingPolicy(), make_lanes(EvenEpisodes(), "vector", AutoresetMode.SAME_STEP)
    observed_returns(policy, env, 0, NO_LIMIT)
    expected = [
        [[lane, 0, step] for lane in range(LANES) if step < length(lane)] for step in range(4)
    ]
    assert policy.recorded == expected
