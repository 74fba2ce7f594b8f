"""The adapter over the native environment equals SB3's DummyVecEnv of single ones."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import ArrayLike, NDArray
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from agents import VectorEnvAdapter
from envs import GridVectorEnv, partial_grid, partial_grid_vec

LANES, STEPS = 16, 200
RULES: dict[str, Any] = {"oversight_probability": 0.4, "horizon": 12}
QUIET = {"observed": False, "observed_reward": 0.0, "TimeLimit.truncated": False}


def native(**rules: Any) -> VectorEnvAdapter:  # noqa: ANN401
    return VectorEnvAdapter(partial_grid_vec(LANES, **{**RULES, **rules}))


def dummy(**rules: Any) -> DummyVecEnv:  # noqa: ANN401
    return DummyVecEnv([lambda: Monitor(partial_grid(**{**RULES, **rules}))] * LANES)


def actions(seed: int = 0) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(4, size=(STEPS, LANES))


def seeded(env: VecEnv, seed: int) -> Any:  # noqa: ANN401
    env.seed(seed)
    return env.reset()


def assert_same_infos(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], dones: Any) -> None:  # noqa: ANN401
    for one, other, done in zip(ours, theirs, dones, strict=True):
        if done:
            del other["episode"]["t"]
            np.testing.assert_equal(one, other)
        else:
            assert one == {}
            assert other == QUIET


@pytest.mark.parametrize("rules", [{}, {"reward": "proxy"}, {"flag": "hidden", "reward": "true"}])
def test_it_equals_a_dummy_of_singles(rules: dict[str, Any]) -> None:
    ours, theirs = native(**rules), dummy(**rules)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    np.testing.assert_array_equal(seeded(ours, 5), seeded(theirs, 5))
    assert [set(info) for info in ours.reset_infos] == [set(info) for info in theirs.reset_infos]
    endings = 0
    for row in actions():
        (obs, rewards, dones, infos), expected = ours.step(row), theirs.step(row)
        np.testing.assert_array_equal(obs, expected[0])
        np.testing.assert_array_equal(rewards, expected[1])
        assert rewards.dtype == expected[1].dtype
        np.testing.assert_array_equal(dones, expected[2])
        assert_same_infos(infos, expected[3], dones)
        endings += int(dones.sum())
    assert endings > 100


def test_a_seed_serves_one_reset() -> None:
    env = native()
    first = seeded(env, 3)
    assert (env.reset() != first).any()
    np.testing.assert_array_equal(seeded(env, 3), first)


def test_a_reset_forgets_the_running_episodes() -> None:
    env = native(reward="proxy")
    env.reset()
    for row in actions()[:5]:
        env.step(row)
    env.reset()
    lengths = [info["episode"]["l"] for row in actions()[:12] for info in env.step(row)[3] if info]
    assert max(lengths) <= 12


def test_a_state_resumes_bit_for_bit() -> None:
    env, other = native(), native()
    seeded(env, 1)
    for row in actions()[:50]:
        env.step(row)
    state = env.get_state()
    copies = {name: array.copy() for name, array in state.items()}
    going_on = [env.step(row) for row in actions(1)[:60]]
    other.reset()
    other.set_state(state)
    for row, (obs, rewards, dones, infos) in zip(actions(1)[:60], going_on, strict=True):
        resumed = other.step(row)
        np.testing.assert_array_equal(obs, resumed[0])
        np.testing.assert_array_equal(rewards, resumed[1])
        np.testing.assert_array_equal(dones, resumed[2])
        np.testing.assert_equal(infos, resumed[3])
    for name, array in copies.items():
        np.testing.assert_array_equal(state[name], array)


def test_gymnasium_vector_environments_can_be_adapted() -> None:
    venv = SyncVectorEnv(
        [lambda: gym.make("CartPole-v1")] * 3, autoreset_mode=AutoresetMode.SAME_STEP
    )
    ours, theirs = VectorEnvAdapter(venv), DummyVecEnv([lambda: gym.make("CartPole-v1")] * 3)
    np.testing.assert_array_equal(seeded(ours, 2), seeded(theirs, 2))
    for row in actions()[:, :3] % 2:
        one, other = ours.step(row), theirs.step(row)
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[2], other[2])
        for lane in np.flatnonzero(one[2]):
            last = one[3][lane]["terminal_observation"]
            np.testing.assert_array_equal(last, other[3][lane]["terminal_observation"])


class SameRewards(GridVectorEnv):
    """Returns the same array of rewards from every step."""

    kept = np.zeros(LANES, np.float32)

    def step(self, actions: ArrayLike) -> Any:  # noqa: ANN401
        """Step, and write into the kept array."""
        observations, rewards, *rest = super().step(actions)
        self.kept[:] = rewards
        return observations, self.kept, *rest


def test_rewards_may_be_changed_in_place() -> None:
    env = VectorEnvAdapter(SameRewards(LANES))
    env.reset()
    rewards = env.step(actions()[0])[1]
    rewards += 1
    assert (SameRewards.kept == rewards - 1).all()


def test_the_lanes_are_not_separate_objects() -> None:
    env = native()
    assert env.get_attr("num_envs", indices=[0, 3]) == [LANES] * 2
    assert env.env_is_wrapped(Monitor) == [False] * LANES
    with pytest.raises(AttributeError, match="cannot set 'rules'"):
        env.set_attr("rules", None)
    with pytest.raises(AttributeError, match="cannot call 'reset'"):
        env.env_method("reset")


def test_pictures_come_one_per_lane() -> None:
    env = VectorEnvAdapter(partial_grid_vec(2, render_mode="rgb_array"))
    env.reset()
    images = env.get_images()
    assert [image.shape for image in images if image is not None] == [(161, 161, 3)] * 2
    assert native().get_images() == [None] * LANES
    env.close()
