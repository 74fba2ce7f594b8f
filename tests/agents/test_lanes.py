"""Attributes and methods of lanes pass through where they can, and are refused with the reason."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from agents import VectorEnvAdapter
from envs import PartialOversight, partial_grid_vec
from envs.wrappers import vector

LANES = 3


class Tuned(gym.Env[Any, Any]):
    """Has a difficulty that can be set, and methods."""

    observation_space, action_space = gym.spaces.Discrete(2), gym.spaces.Discrete(2)
    difficulty: Any = 1

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Start."""
        return 0, {}

    def action_masks(self) -> Any:  # noqa: ANN401
        """Return what sb3-contrib asks for."""
        return np.array([True, False])

    def harder(self, by: int, *, times: int = 1) -> Any:  # noqa: ANN401
        """Return the difficulty, raised."""
        return self.difficulty + by * times


def lane() -> gym.Env[Any, Any]:
    return gym.wrappers.TimeLimit(Tuned(), 9)


def monitored() -> gym.Env[Any, Any]:
    return Monitor(Tuned())


def sync() -> VectorEnv[Any, Any, Any]:
    return SyncVectorEnv([lane] * LANES)


@pytest.mark.parametrize("wrapped", [False, True])
def test_lanes_of_single_environments_answer_as_in_dummy_vec_env(wrapped: bool) -> None:
    venv = vector.PartialOversight(sync()) if wrapped else sync()
    for env in (VectorEnvAdapter(venv), DummyVecEnv([lane] * LANES)):
        assert env.get_attr("difficulty") == [1] * LANES
        env.env_method("set_wrapper_attr", "difficulty", [4, 5], indices=[0, 2])
        assert env.get_attr("difficulty") == [[4, 5], 1, [4, 5]]
        assert env.get_attr("difficulty", indices=1) == [1]
        assert env.env_method("harder", 2, times=3, indices=[1]) == [7]
        env.set_attr("color", "red", indices=[0])
        assert env.get_attr("color", indices=[0]) == ["red"]
        assert env.has_attr("action_masks")
        assert not env.has_attr("color")
        assert env.env_is_wrapped(gym.wrappers.TimeLimit) == [True] * LANES
        assert env.env_is_wrapped(Monitor, indices=[0]) == [False]


def test_lanes_in_processes_answer_all_at_once() -> None:
    env = VectorEnvAdapter(AsyncVectorEnv([lane] * LANES))
    try:
        env.set_attr("difficulty", [4, 5])
        assert env.get_attr("difficulty", indices=[1]) == [[4, 5]]
        env.set_attr("difficulty", 2)
        assert env.env_method("harder", 2, times=3) == [8] * LANES
        assert np.array(env.env_method("action_masks")).tolist() == [[True, False]] * LANES
        assert env.has_attr("action_masks")
        assert not env.has_attr("color")
        with pytest.raises(AttributeError, match="have no attribute 'color'"):
            env.get_attr("color")
        with pytest.raises(ValueError, match="have no method 'color'"):
            env.env_method("color")
        with pytest.raises(ValueError, match=r"calls 'harder' in all 3 lanes at once, got .*\[1\]"):
            env.env_method("harder", 1, indices=[1])
        with pytest.raises(ValueError, match=r"sets 'difficulty' in all 3 lanes at once"):
            env.set_attr("difficulty", 1, indices=0)
        with pytest.raises(ValueError, match="use reset of the vector environment"):
            env.env_method("reset")
        assert env.get_attr("difficulty") == [2] * LANES  # no worker has ended
    finally:
        env.close()


def test_native_vector_environments_have_only_shared_attributes() -> None:
    env = VectorEnvAdapter(partial_grid_vec(LANES))
    assert env.get_attr("num_envs", indices=[0, 2]) == [LANES] * 2
    assert env.env_is_wrapped(Monitor) == [False] * LANES
    assert not env.has_attr("action_masks")
    with pytest.raises(AttributeError, match="GridVectorEnv have no attribute 'action_masks'"):
        env.get_attr("action_masks")
    with pytest.raises(ValueError, match="cannot set 'rules' in lanes of GridVectorEnv, which"):
        env.set_attr("rules", None)
    with pytest.raises(ValueError, match="cannot call 'reset' in lanes of GridVectorEnv, which"):
        env.env_method("reset")


def test_spaces_are_those_that_the_learner_sees() -> None:
    overseen = vector.PartialOversight(sync(), flag="visible")
    env = VectorEnvAdapter(overseen)
    assert env.get_attr("observation_space") == [overseen.single_observation_space] * LANES
    assert env.get_attr("action_space", indices=[0]) == [gym.spaces.Discrete(2)]


def test_wrappers_of_a_lane_answer() -> None:
    overseen = PartialOversight(Tuned(), observed_probability=1.0)
    env = VectorEnvAdapter(SyncVectorEnv([lambda: overseen]))
    assert env.env_method("harder", 1) == [2]
    assert env.env_is_wrapped(PartialOversight) == [True]
    assert VectorEnvAdapter(SyncVectorEnv([monitored])).env_is_wrapped(Monitor) == [True]


def test_outermost_wrapper_says_what_is_paid() -> None:
    def truthful() -> gym.Env[Any, Any]:
        return PartialOversight(Tuned(), reward="true")

    lanes = SyncVectorEnv([truthful] * 2)
    assert VectorEnvAdapter(lanes).get_attr("paid_reward") == ["true"] * 2
    assert VectorEnvAdapter(vector.PartialOversight(lanes)).get_attr("paid_reward") == [
        "observed",
        "observed",
    ]
