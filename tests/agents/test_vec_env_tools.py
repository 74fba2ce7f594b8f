"""SB3's tools see behind the adapter what they see with DummyVecEnv, in every autoreset mode."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from stable_baselines3.common import evaluation
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecEnv,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
)

import envs
from agents import VectorEnvAdapter, evaluate_policy
from envs.wrappers import vector
from tests.agents.factories import Fused, small_agent

LANES, STEPS = 3, 100
SAME, NEXT, DISABLED = AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED


class Walk(gym.Env[Any, Any]):
    """Lasts five steps, or two more in every other episode; counts episodes and steps."""

    observation_space = spaces.Box(-100.0, 100.0, (2,), np.float32)
    action_space = spaces.Discrete(2)
    episode = -1

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start the next episode."""
        super().reset(seed=seed)
        self.episode += 1
        self.elapsed = 0
        return self._see(), {"number": self.episode}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Count, and pay by the action."""
        self.elapsed += 1
        last = self.elapsed == 5 + 2 * (self.episode % 2)
        cut = self.episode % 3 == 1
        return self._see(), 1.0 + action, last and not cut, last and cut, {"number": self.episode}

    def _see(self) -> Any:  # noqa: ANN401
        return np.array([self.episode, self.elapsed], dtype=np.float32)


def overseen_walk() -> gym.Env[Any, Any]:
    return envs.PartialOversight(Walk(), observed_probability=0.5, flag="visible")


def cart_pole() -> gym.Env[Any, Any]:
    return gym.make("CartPole-v1")


SINGLES: dict[str, Callable[[], gym.Env[Any, Any]]] = {
    "walk": Walk,
    "overseen walk": overseen_walk,
    "cart pole": cart_pole,
    "acrobot": lambda: gym.make("Acrobot-v1", max_episode_steps=20),
    "monitored": lambda: Monitor(Walk()),
}


def overseen_lanes(mode: AutoresetMode) -> VectorEnv[Any, Any, Any]:
    lanes = SyncVectorEnv([Walk] * LANES, autoreset_mode=mode)
    return vector.PartialOversight(lanes, observed_probability=0.5, flag="visible")


def lanes_of(name: str, mode: AutoresetMode) -> VectorEnv[Any, Any, Any]:
    if name == "overseen walk, as a vector":
        return overseen_lanes(mode)
    return SyncVectorEnv([SINGLES[name]] * LANES, autoreset_mode=mode)


def both(name: str, mode: AutoresetMode) -> tuple[VecEnv, VecEnv]:
    return VectorEnvAdapter(lanes_of(name, mode)), dummy(name)


def dummy(name: str) -> VecEnv:
    return DummyVecEnv([SINGLES[name.removesuffix(", as a vector")]] * LANES)


class Alternating:
    """Acts by a sum over what it sees, so that actions differ where observations do."""

    def predict(self, observation: Any, **_: Any) -> tuple[Any, None]:  # noqa: ANN401
        """Return an action for each lane."""
        return (np.abs(observation).sum(1) * 10).astype(np.int64) % 2, None


every_mode = pytest.mark.parametrize("mode", [SAME, NEXT, DISABLED])
every_case = pytest.mark.parametrize("name", [*SINGLES, "overseen walk, as a vector"])


@every_mode
@every_case
@pytest.mark.filterwarnings("ignore:Evaluation environment is not wrapped")
def test_evaluate_policy_sees_what_dummy_vec_env_shows(name: str, mode: AutoresetMode) -> None:
    results = []
    for env in both(name, mode):
        env.seed(3)
        given = evaluation.evaluate_policy(
            Alternating(),  # type: ignore[arg-type]
            env,
            n_eval_episodes=14,
            return_episode_rewards=True,
        )
        results.append(given)
    assert results[0] == results[1]
    if name == "walk":
        assert set(results[0][1]) == {5, 7}  # type: ignore[arg-type]


TOOLS: dict[str, Callable[[VecEnv], VecEnv]] = {
    "nothing": lambda env: env,
    "VecMonitor": VecMonitor,
    "VecFrameStack": lambda env: VecFrameStack(env, 3),
    "VecNormalize": lambda env: VecNormalize(env, norm_reward=False),
    "both": lambda env: VecNormalize(VecFrameStack(env, 3)),
    "all": lambda env: VecFrameStack(VecNormalize(VecMonitor(env)), 2),
}


@every_mode
@every_case
@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.filterwarnings("ignore:The environment is already wrapped with a `Monitor`")
def test_wrappers_see_what_dummy_vec_env_shows(name: str, mode: AutoresetMode, tool: str) -> None:
    ours, theirs = (TOOLS[tool](env) for env in both(name, mode))
    assert ours.observation_space == theirs.observation_space
    for env in (ours, theirs):
        env.seed(3)
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    ends = 0
    for row in np.random.default_rng(0).integers(2, size=(STEPS, LANES)):
        one, other = ours.step(row), theirs.step(row)
        for mine, yours in zip(one[:3], other[:3], strict=True):
            np.testing.assert_array_equal(mine, yours)
        for lane in np.flatnonzero(one[2]):
            ends += 1
            compare_ends(one[3][lane], other[3][lane])
    np.testing.assert_equal(ours.reset_infos, theirs.reset_infos)
    assert ends > 10


def compare_ends(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    for key in ("terminal_observation", "TimeLimit.truncated"):
        np.testing.assert_array_equal(ours[key], theirs[key])
    if "episode" in theirs:  # of Monitor and VecMonitor
        assert {key: ours["episode"][key] for key in "rl"} == {
            key: theirs["episode"][key] for key in "rl"
        }


@every_mode
def test_lanes_in_processes_show_what_dummy_vec_env_shows(mode: AutoresetMode) -> None:
    ours = VectorEnvAdapter(AsyncVectorEnv([overseen_walk] * LANES, autoreset_mode=mode))
    theirs = dummy("overseen walk")
    for env in (ours, theirs):
        env.seed(3)
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    for row in np.random.default_rng(0).integers(2, size=(30, LANES)):
        for mine, yours in zip(ours.step(row)[:3], theirs.step(row)[:3], strict=True):
            np.testing.assert_array_equal(mine, yours)
    ours.close()


def test_lanes_in_processes_without_shared_memory_are_refused_when_they_reset_later() -> None:
    lanes = AsyncVectorEnv([Walk], shared_memory=False, autoreset_mode=NEXT)
    with pytest.raises(ValueError, match="AsyncVectorEnv resets ended lanes in the next step"):
        VectorEnvAdapter(lanes)
    lanes.close()


@pytest.mark.filterwarnings("ignore:Evaluation environment is not wrapped")
def test_evaluate_policy_takes_vector_environments() -> None:
    for env in (lanes_of("walk", NEXT), dummy("walk")):
        _, lengths = evaluate_policy(
            Alternating(), env, n_eval_episodes=6, return_episode_rewards=True
        )
        assert lengths == [5, 5, 5, 7, 7, 7]
    _, lengths = evaluate_policy(
        Alternating(), Walk(), n_eval_episodes=3, return_episode_rewards=True
    )
    assert lengths == [5, 7, 5]


def test_agent_is_evaluated_in_its_environment_when_resets_are_marked() -> None:
    agent = small_agent("routed", Fused(lanes_of("walk", NEXT)), n_steps=8, batch_size=8)
    _, lengths = evaluate_policy(
        agent, agent.get_env(), n_eval_episodes=6, return_episode_rewards=True
    )
    assert lengths == [5, 5, 5, 7, 7, 7]
