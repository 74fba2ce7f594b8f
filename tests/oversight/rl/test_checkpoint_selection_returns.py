"""Observed returns of an environment whose every reward tells where it was paid."""

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
    """Does nothing, and remembers what it was shown."""

    def __init__(self) -> None:
        env = NumberedRewards()
        super().__init__(env.observation_space, env.action_space)
        self.shown: list[Any] = []

    def _predict(self, observation: Any, deterministic: bool = False) -> torch.Tensor:  # noqa: ANN401
        self.shown.append(observation.numpy().astype(int).tolist())
        return torch.zeros(len(observation), dtype=torch.int64)


def make_lanes(observer: Any, wrapper: str, mode: AutoresetMode) -> VecEnv:  # noqa: ANN401
    """Return lanes of that environment, one wrapper around all of them or one in each."""
    if wrapper == "vector":
        inside = SyncVectorEnv([NumberedRewards] * LANES, autoreset_mode=mode)
        return VectorEnvAdapter(vector.PartialOversight(inside, observer=observer))
    lanes = [lambda: PartialOversight(NumberedRewards(), observer=observer)] * LANES
    return VectorEnvAdapter(SyncVectorEnv(lanes, autoreset_mode=mode))


def expected_returns(is_observed: IsObserved, limit: int = NO_LIMIT) -> list[float]:
    """Return the sum of what is seen of each lane's first episode, if anything is."""
    returns = []
    for lane in range(LANES):
        steps = range(min(length(lane), limit))
        seen = [pay(lane, 0, step) for step in steps if is_observed(lane, step)]
        if seen:
            returns.append(sum(seen))
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
    player = RecordingPolicy()
    returns = observed_returns(player, make_lanes(observer, "vector", mode), 0, limit)
    assert returns.tolist() == expected_returns(is_observed, limit)
    assert len(player.shown) == limit


def test_policy_acts_only_in_unfinished_episodes() -> None:
    player, env = RecordingPolicy(), make_lanes(EvenEpisodes(), "vector", AutoresetMode.SAME_STEP)
    observed_returns(player, env, 0, NO_LIMIT)
    expected = [
        [[lane, 0, step] for lane in range(LANES) if step < length(lane)] for step in range(4)
    ]
    assert player.shown == expected
