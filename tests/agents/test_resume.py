"""An agent on wrapped vector environments, restored from a checkpoint, trains on bit for bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import VectorEnv

from agents import RoutedPPO, VectorEnvAdapter
from agents.checkpoint import read_state, restore, state_bytes, training_state
from envs import Noisy, StepCoin, partial_grid_vec
from envs.wrappers import vector
from tests.agents.small import ROLLOUT, assert_same_training, small_agent

Vector = VectorEnv[Any, Any, Any]


def grid() -> Vector:
    return partial_grid_vec(32, horizon=12, flag="hidden", reward="true")


ENVIRONMENTS: dict[str, Callable[[], Vector]] = {
    "episodes": lambda: vector.PartialOversight(grid(), observed_probability=0.5),
    "steps": lambda: vector.PartialOversight(
        grid(), observer=Noisy(StepCoin(0.5), miss=0.2), flag="visible"
    ),
    "horizon": lambda: vector.PartialOversight(vector.FixedHorizon(grid(), 15)),
}


def agent_on(case: str) -> RoutedPPO:
    return small_agent("naive", VectorEnvAdapter(ENVIRONMENTS[case]()))


@pytest.mark.parametrize("case", ENVIRONMENTS)
def test_a_restored_agent_equals_the_uninterrupted(case: str, tmp_path: Path) -> None:
    whole = agent_on(case)
    whole.learn(3 * ROLLOUT)
    (tmp_path / "checkpoint.pt").write_bytes(state_bytes(training_state(whole)))
    whole.learn(2 * ROLLOUT, reset_num_timesteps=False)

    torch.manual_seed(1234)
    resumed = agent_on(case)
    restore(resumed, read_state(tmp_path / "checkpoint.pt"))
    resumed.learn(2 * ROLLOUT, reset_num_timesteps=False)
    assert_same_training(resumed, whole)
    assert resumed.num_timesteps == whole.num_timesteps
    np.testing.assert_array_equal(resumed._last_obs, whole._last_obs)
    ours, theirs = resumed.get_env(), whole.get_env()
    assert isinstance(ours, VectorEnvAdapter)
    assert isinstance(theirs, VectorEnvAdapter)
    for name, array in theirs.get_state().items():
        np.testing.assert_array_equal(ours.get_state()[name], array, err_msg=name)
