"""Training behind the adapter: every autoreset mode, single environments, and routes."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import DummyVecEnv

import envs
from agents import ROUTES, RoutedPPO
from agents.rollout_buffer import HIDDEN, NEGATIVE, POSITIVE, UNUSED, Timeouts
from tests.agents.factories import Corridor, Fused, assert_same_training, small_agent

MODES = (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED)
SETTINGS = {"n_steps": 64, "batch_size": 32, "gamma": 0.9, "gae_lambda": 0.8}


def overseen(name: str) -> gym.Env[Any, Any]:
    settings: dict[str, Any] = {"reward": "true"} if name == "PartialGrid-v0" else {}
    return envs.PartialOversight(gym.make(name, **settings), observed_probability=0.5)


def overseen_sync(name: str, mode: AutoresetMode, count: int = 4) -> VectorEnv[Any, Any, Any]:
    return SyncVectorEnv([lambda: overseen(name)] * count, autoreset_mode=mode)


def fused(name: str) -> VectorEnv[Any, Any, Any]:
    """Return lanes that reset in the next step and cannot be reset alone."""
    return Fused(overseen_sync(name, AutoresetMode.NEXT_STEP))


def agent_on(env: Any, **settings: Any) -> RoutedPPO:  # noqa: ANN401
    return small_agent("routed", env, **{**SETTINGS, **settings})


def slow_advantages(agent: RoutedPPO, lane: int) -> tuple[NDArray[np.bool_], list[float]]:
    """Return which steps of a lane are real, and their advantages, summed error by error."""
    buffer = agent.rollout_buffer
    real = buffer.last_route[:, lane] != UNUSED
    ended = buffer.last_route[real, lane] >= 0
    values = buffer.values[real, lane].tolist()
    with torch.no_grad():
        last = agent.policy.predict_values(agent.policy.obs_to_tensor(agent._last_obs)[0])  # type: ignore[arg-type]
    rewards, ahead = buffer.rewards[real, lane].tolist(), [*values[1:], last[lane].item()]
    errors = [
        reward + 0.9 * after * (not end) - value
        for reward, value, after, end in zip(rewards, values, ahead, ended, strict=True)
    ]
    advantages = []
    for step in range(len(errors)):
        total, weight = 0.0, 1.0
        for error, end in zip(errors[step:], ended[step:], strict=True):
            total += weight * error
            weight *= 0.9 * 0.8
            if end:
                break
        advantages.append(total)
    return real, advantages


@pytest.mark.parametrize("name", ["CartPole-v1", "FrozenLake-v1"])
def test_advantages_of_real_steps_ignore_resetting_steps(name: str) -> None:
    # no step of learning, so that the critic still gives the values of the rollout
    agent = agent_on(fused(name), learning_rate=0.0).learn(256)
    unused = 0
    for lane in range(4):
        real, expected = slow_advantages(agent, lane)
        advantages = agent.rollout_buffer.advantages[real, lane]
        np.testing.assert_allclose(advantages, expected, rtol=1e-4, atol=1e-5)
        unused += int((~real).sum())
    assert unused > 4


def test_training_ignores_resetting_steps() -> None:
    def trained() -> RoutedPPO:
        return agent_on(fused("CartPole-v1")).learn(256)

    ours, theirs = trained(), trained()
    buffer = theirs.rollout_buffer
    unused = ~buffer.used()
    assert unused.any()
    for array in (buffer.observations, buffer.actions, buffer.advantages, buffer.returns):
        array[unused] = 1e6
    for array in (buffer.values, buffer.log_probs):
        array[unused] = -1e6
    assert sum(len(s.routes) for s in buffer.get(32)) == (~unused).sum()
    next(ours.rollout_buffer.get())
    for agent in (ours, theirs):
        agent.train()
    assert_same_training(ours, theirs)


@pytest.mark.parametrize("name", ["CartPole-v1", "FrozenLake-v1"])
def test_agent_trains_alike_in_every_autoreset_mode(name: str) -> None:
    same, *others = (agent_on(overseen_sync(name, mode)).learn(512) for mode in MODES)
    routes = set(np.unique(same.rollout_buffer.routes()))
    assert routes >= ({POSITIVE, HIDDEN} if name == "CartPole-v1" else {NEGATIVE, HIDDEN})
    assert UNUSED not in routes
    for other in others:
        assert_same_training(other, same)


def test_agent_learns_when_lanes_cannot_be_reset_alone() -> None:
    agent = agent_on(fused("CartPole-v1")).learn(512)
    assert {POSITIVE, HIDDEN, UNUSED} <= set(np.unique(agent.rollout_buffer.routes()))


@pytest.mark.parametrize("name", ["CartPole-v1", "FrozenLake-v1", "PartialGrid-v0"])
def test_single_environment_trains_as_in_dummy_vec_env(name: str) -> None:
    single = agent_on(overseen(name)).learn(256)
    for other in (
        DummyVecEnv([lambda: overseen(name)]),
        SyncVectorEnv([lambda: overseen(name)], autoreset_mode=AutoresetMode.SAME_STEP),
    ):
        assert_same_training(agent_on(other).learn(256), single)


def test_agent_refuses_nested_observations() -> None:
    class Nested(gym.Env[Any, Any]):
        observation_space = spaces.Dict({"a": spaces.Dict({"b": spaces.Discrete(2)})})
        action_space = spaces.Discrete(2)

    for env in (Nested(), SyncVectorEnv([Nested])):
        with pytest.raises(ValueError, match=r"must be arrays.*FlattenObservation"):
            agent_on(env)


@pytest.mark.parametrize(("timeouts", "unobserved"), [("open", "open"), ("hidden", "hidden")])
def test_route_depends_on_steps_of_the_rollout_before(timeouts: Timeouts, unobserved: str) -> None:
    # episodes of 12 steps and rollouts of 8: rewards were observed in the rollout before
    agent = agent_on(Corridor(3), n_steps=8, batch_size=8, timeouts=timeouts)
    agent.learn(3 * 8)
    expected = ["positive", "negative", unobserved]
    routes = agent.rollout_buffer.routes()
    assert [ROUTES[n] for n in routes[0]] == expected
    assert (routes == routes[0]).all()
    agent.learn(3 * 8, reset_num_timesteps=False)
    assert [ROUTES[n] for n in agent.rollout_buffer.routes()[3]] == expected
