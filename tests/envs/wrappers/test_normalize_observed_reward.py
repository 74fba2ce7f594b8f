"""NormalizeObservedReward: the scale is that of what was observed, and of nothing else."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import envs
from envs import (
    EpisodeCoin,
    NormalizeObservedReward,
    PartialOversight,
    partial_grid,
    partial_grid_vec,
)
from envs.observers import StepCoin
from envs.wrappers import vector
from tests.envs.wrappers.environment_factories import GAMES

GAMMA = 0.9


def make_overseen(game: str) -> PartialOversight:
    return PartialOversight(GAMES[game](), observer=EpisodeCoin(0.5) & StepCoin(0.7))


def slow_scale(sums: list[float]) -> float:
    deviation = float(np.std(sums)) if sums else 0.0
    return deviation or 1.0


@pytest.mark.parametrize("game", GAMES)
def test_the_scale_is_the_deviation_of_observed_returns(game: str) -> None:
    env = NormalizeObservedReward(make_overseen(game), gamma=GAMMA)
    raw = make_overseen(game)
    env.action_space.seed(0)
    sums: list[float] = []
    total, observed = 0.0, 0
    np.testing.assert_equal(env.reset(seed=3), raw.reset(seed=3))
    for _ in range(400):
        action = env.action_space.sample()
        ours, theirs = env.step(action), raw.step(action)
        if theirs[4]["observed"]:
            total = GAMMA * total + theirs[4]["observed_reward"]
            sums.append(total)
            observed += 1
        assert env.scale == pytest.approx(slow_scale(sums), rel=1e-9)
        assert ours[1] == pytest.approx(float(theirs[1]) / slow_scale(sums), rel=1e-9)
        np.testing.assert_equal((ours[0], *ours[2:]), (theirs[0], *theirs[2:]))
        if theirs[2] or theirs[3]:
            total = 0.0
            env.reset(), raw.reset()
    assert observed > 50


class OverwrittenHiddenReward(gym.Wrapper[Any, Any, Any, Any]):
    """Writes another observed reward where nothing was observed."""

    def __init__(self, env: gym.Env[Any, Any], value: float) -> None:
        super().__init__(env)
        self.value = value

    def step(self, action: object) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Scribble into the reward and the info of hidden steps."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if not info["observed"]:
            reward, info = 0.0, {**info, "observed_reward": self.value}
        return observation, reward, terminated, truncated, info


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e9, -0.0])
def test_hidden_rewards_are_never_read(value: float) -> None:
    def rewards(value: float) -> tuple[list[bytes], list[bytes]]:
        def make() -> gym.Env[Any, Any]:
            return OverwrittenHiddenReward(make_overseen("CartPole"), value)

        single = NormalizeObservedReward(make())
        lanes = vector.NormalizeObservedReward(
            SyncVectorEnv([make] * 3, autoreset_mode=AutoresetMode.SAME_STEP)
        )
        single.reset(seed=0)
        lanes.reset(seed=0)
        ones: list[bytes] = []
        many: list[bytes] = []
        for _ in range(60):
            _, reward, terminated, truncated, _ = single.step(0)
            ones.append(np.float64(reward).tobytes())
            many.append(lanes.step(np.zeros(3, dtype=int))[1].tobytes())
            if terminated or truncated:
                single.reset()
        return ones, many

    assert rewards(value) == rewards(0.0)


def test_scale_is_constant_when_updates_are_off() -> None:
    for env in (
        NormalizeObservedReward(PartialOversight(GAMES["CartPole"](), observed_probability=1.0)),
        vector.NormalizeObservedReward(
            partial_grid_vec(4, reward="true", oversight_probability=1.0)
        ),
    ):
        env.update_running_mean = False
        env.reset(seed=0)
        for _ in range(8):
            env.step(0 if isinstance(env, gym.Env) else np.zeros(4, dtype=int))
        assert env.scale == 1.0


@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version")
def test_checker_passes_and_spec_rebuilds() -> None:
    check_env(NormalizeObservedReward(partial_grid()), skip_render_check=True)
    made = gym.make("PartialGrid-v0")
    spec = NormalizeObservedReward(made, gamma=0.5).spec
    assert spec is not None
    again = gym.make(spec)
    assert isinstance(again, NormalizeObservedReward)
    assert again.returns.gamma == 0.5


@pytest.mark.parametrize("gamma", [-0.1, 1.1, float("nan")])
def test_discount_is_refused_when_out_of_range(gamma: float) -> None:
    with pytest.raises(ValueError, match=r"gamma must lie in \[0, 1\]"):
        NormalizeObservedReward(partial_grid(), gamma=gamma)
    with pytest.raises(ValueError, match=r"gamma must lie in \[0, 1\]"):
        vector.NormalizeObservedReward(partial_grid_vec(2), gamma=gamma)


def test_environment_is_refused_when_its_infos_lack_observed() -> None:
    single = envs.NormalizeObservedReward(GAMES["CartPole"]())
    single.reset()
    with pytest.raises(ValueError, match=r"NormalizeObservedReward\(PartialOversight\(env\)\)"):
        single.step(0)
    lanes = vector.NormalizeObservedReward(SyncVectorEnv([GAMES["CartPole"]]))
    lanes.reset()
    with pytest.raises(ValueError, match=r"NormalizeObservedReward\(PartialOversight\(env\)\)"):
        lanes.step(np.array([0]))
