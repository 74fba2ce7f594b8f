"""Continuous actions: SB3's Gaussian, with every parameter behind a gate."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.distributions import DiagGaussianDistribution
from torch import Tensor, nn
from torch.autograd import grad

import envs
from agents import METHODS, MotivationPolicy, RoutedPPO
from agents.rollout_buffer import HIDDEN, NEGATIVE, OPEN, POSITIVE, by_coin
from oversight.routing import RouteTable, audit, routing
from tests.agents.small import remove_gates, small_agent, weights

BATCH, LANES, STEPS = 12, 4, 64
SPACES = (spaces.Box(-1, 1, (3,)), spaces.Box(-1, 1, (2,)))


def pendulums(probability: float) -> VectorEnv[Any, Any, Any]:
    def single() -> gym.Env[Any, Any]:
        env = gym.make("Pendulum-v1", max_episode_steps=20)
        return envs.PartialOversight(env, observed_probability=probability)

    return SyncVectorEnv([single] * LANES, autoreset_mode=AutoresetMode.SAME_STEP)


def agent_on(env: Any, method: str = "routed", **settings: Any) -> RoutedPPO:  # noqa: ANN401
    return small_agent(method, env, **{"n_steps": STEPS, "batch_size": 64, **settings})


def policy_of(modules: tuple[str, ...] = ("goal", "proxy")) -> MotivationPolicy:
    torch.manual_seed(0)
    policy = MotivationPolicy(*SPACES, lambda _: 1e-3, modules=modules, hidden_sizes=(8,))
    with torch.no_grad():
        policy.log_std.copy_(torch.tensor([-0.5, 0.3]))
    return policy


def assert_close(ours: Tensor | None, theirs: Tensor | None) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@torch.no_grad()
def test_it_is_the_gaussian_of_sb3() -> None:
    policy, observations = policy_of(), torch.randn(BATCH, 3)
    actions, values, log_prob = policy(observations)
    mean = policy.action_net(policy.net.forward_actor(observations))
    theirs = DiagGaussianDistribution(2).proba_distribution(mean, policy.log_std)
    assert_close(log_prob, theirs.log_prob(actions))
    again = policy.evaluate_actions(observations, actions)
    assert_close(again[0], values)
    assert_close(again[1], log_prob)
    assert_close(again[2], theirs.entropy())
    best, _, _ = policy(observations, deterministic=True)
    assert_close(best, mean)


def test_the_gradient_of_the_deviation_is_that_of_sb3() -> None:
    policy, observations = policy_of(), torch.randn(BATCH, 3)
    remove_gates(policy)
    actions = torch.randn(BATCH, 2)
    mean = policy.action_net(policy.net.forward_actor(observations)).detach()
    theirs = DiagGaussianDistribution(2).proba_distribution(mean, policy.log_std)
    _, log_prob, entropy = policy.evaluate_actions(observations, actions)
    for ours, other in ((log_prob, theirs.log_prob(actions)), (entropy, theirs.entropy())):
        assert ours is not None
        assert other is not None
        one, two = (grad(x.mean(), policy.log_std, retain_graph=True) for x in (ours, other))
        assert_close(one[0], two[0])


def per_sample_losses(policy: MotivationPolicy, observations: Tensor, actions: Tensor) -> Tensor:
    values, log_prob, entropy = policy.evaluate_actions(observations, actions)
    assert entropy is not None
    return values.flatten() ** 2 - log_prob - 0.1 * entropy


@pytest.mark.parametrize("path", ["evaluation", "distribution"])
def test_every_parameter_lies_behind_a_gate(path: str) -> None:
    policy = policy_of()
    names = ("goal", "proxy", "mixture", "shared")
    routes = dict.fromkeys(("open", "closed"), dict.fromkeys(names, 0.0))
    routes["open"] = dict.fromkeys(names, 1.0)
    table, route = RouteTable(routes), torch.arange(BATCH) % 2
    observations, actions = torch.randn(BATCH, 3), torch.randn(BATCH, 2)
    parts: dict[str, nn.Parameter] = dict(policy.named_parameters())
    with routing(policy, table, route):
        if path == "evaluation":
            losses = per_sample_losses(policy, observations, actions)
        else:
            losses = policy.get_distribution(observations).log_prob(actions)
        norms = audit(losses, parts, table, route)
    assert "log_std" in norms["closed"]
    assert not any(norms["closed"].values())
    assert norms["open"]["log_std"] > 0
    if path == "evaluation":
        # the action head's last gate is shared, and so is the critic's: all of it learns
        assert all(norm > 0 for norm in norms["open"].values())


def test_the_optimizer_holds_the_deviation_as_shared() -> None:
    policy = policy_of()
    (shared,) = [g for g in policy.optimizer.param_groups if g["target"] == "shared"]
    assert any(parameter is policy.log_std for parameter in shared["params"])


def test_hidden_pendulums_teach_nothing_when_filtered() -> None:
    agent = agent_on(pendulums(0.0), "filtered", timeouts="hidden")
    before = weights(agent.policy)
    agent.learn(2 * STEPS * LANES)
    assert (agent.rollout_buffer.routes() == HIDDEN).all()
    for name, tensor in weights(agent.policy).items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("timeouts", ["open", "hidden"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_on_pendulums(method: str, timeouts: Any) -> None:  # noqa: ANN401
    agent = agent_on(pendulums(0.5), method, timeouts=timeouts)
    before = weights(agent.policy)
    agent.learn(2 * STEPS * LANES)
    unseen = HIDDEN if timeouts == "hidden" else OPEN
    unseen_too = {HIDDEN, OPEN} if agent.method.assignment is by_coin else {unseen}
    assert set(np.unique(agent.rollout_buffer.routes())) == {NEGATIVE, *unseen_too}  # costs only
    assert not torch.equal(weights(agent.policy)["log_std"], before["log_std"])
    assert POSITIVE not in agent.rollout_buffer.routes()


def test_predictions_lie_in_the_space_as_in_sb3() -> None:
    policy = policy_of()
    with torch.no_grad():
        policy.log_std.fill_(3.0)
    observations: NDArray[np.float32] = np.zeros((100, 3), np.float32)
    actions, _ = policy.predict(observations)
    assert (np.abs(actions) <= 1).all()
    assert (np.abs(actions) == 1).any()


def test_what_is_deployed_acts_alike() -> None:
    agent = agent_on(pendulums(0.5)).learn(STEPS * LANES)
    alone = agent.deployed()
    assert torch.equal(alone.log_std, agent.policy.log_std)
    assert isinstance(agent.policy, MotivationPolicy)
    expert = agent.policy.net.experts["goal"]
    observations = torch.randn(BATCH, 3)
    with torch.no_grad():
        expected = agent.policy.action_net(expert(observations))
        assert_close(alone(observations, deterministic=True)[0], expected)


def test_other_actions_are_refused() -> None:
    class Switches(gym.Env[Any, Any]):
        observation_space, action_space = SPACES[0], spaces.MultiBinary(2)

    with pytest.raises(ValueError, match=r"Discrete or Box space, got MultiBinary"):
        agent_on(Switches())
    with pytest.raises(ValueError, match="leave use_sde out"):
        agent_on(pendulums(0.5), use_sde=True)
