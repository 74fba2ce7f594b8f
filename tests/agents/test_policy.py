"""The policy: its network, its actions, and the policy of one deployed module."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.distributions import CategoricalDistribution, DiagGaussianDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor, nn
from torch.autograd import grad

from agents import METHODS, MotivationPolicy, RoutedPPO, VectorEnvAdapter
from agents.policy import gumbel_sample
from agents.ppo import PPOConfig
from oversight.routing import RouteTable, audit, routing
from tests.agents.factories import (
    PENDULUM_STEPS,
    PENDULUMS,
    ROLLOUT,
    SETTINGS,
    assert_same_training,
    pendulum_agent,
    pendulums,
    probabilities,
    remove_gates,
    small_agent,
    small_env,
    weights,
)


@pytest.fixture(scope="module")
def policy(agent: RoutedPPO) -> MotivationPolicy:
    assert isinstance(agent.policy, MotivationPolicy)
    return agent.policy


@torch.no_grad()
def test_evaluate_actions_equals_sb3(policy: MotivationPolicy, observations: Tensor) -> None:
    actions = torch.arange(len(observations)) % 4
    ours = policy.evaluate_actions(observations, actions)
    theirs = ActorCriticPolicy.evaluate_actions(policy, observations, actions)
    for one, other in zip(ours, theirs, strict=True):
        assert one is not None
        assert other is not None
        assert_close(one, other)


@torch.no_grad()
def test_action_is_the_likeliest_when_deterministic(
    policy: MotivationPolicy, observations: Tensor
) -> None:
    ours = policy(observations, deterministic=True)
    for one, other in zip(
        ours, ActorCriticPolicy.forward(policy, observations, deterministic=True), strict=True
    ):
        assert_close(one, other)
    distribution = policy.get_distribution(observations)
    assert isinstance(distribution, CategoricalDistribution)
    assert torch.equal(ours[0], distribution.distribution.logits.argmax(-1))
    predicted, _ = policy.predict(observations.numpy(), deterministic=True)
    assert torch.equal(ours[0], torch.as_tensor(predicted))


@torch.no_grad()
def test_sampled_actions_are_those_of_sb3(policy: MotivationPolicy, observations: Tensor) -> None:
    many = observations.repeat(100, *[1] * (observations.ndim - 1))
    found = []
    for predict in (policy._predict, partial(ActorCriticPolicy._predict, policy)):
        torch.manual_seed(0)
        found.append(predict(many))
    assert torch.equal(*found)


@torch.no_grad()
def test_forward_returns_the_log_probability_of_its_actions(
    policy: MotivationPolicy, observations: Tensor
) -> None:
    actions, values, log_prob = policy(observations)
    again = policy.evaluate_actions(observations, actions)
    assert_close(values, again[0])
    assert_close(log_prob, again[1])


def test_gumbel_samples_follow_the_softmax() -> None:
    torch.manual_seed(0)
    num_samples = 200_000
    logits = torch.tensor([2.0, 0.0, -1.0, 0.5])
    counts = torch.bincount(gumbel_sample(logits.expand(num_samples, 4)), minlength=4)
    chance = torch.softmax(logits, -1)
    deviation = (num_samples * chance * (1 - chance)).sqrt()
    assert ((counts - num_samples * chance).abs() < 5 * deviation).all()


def test_gumbel_samples_never_take_an_action_of_probability_0() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([0.0, -torch.inf, 1.0]).expand(10_000, 3)
    assert set(gumbel_sample(logits).tolist()) == {0, 2}


def test_fused_adam_stays_close_to_plain_adam() -> None:
    # 10 epochs of 4 minibatches on one rollout, so that both learn from the same samples
    one_rollout: dict[str, Any] = {"n_epochs": 10, "batch_size": 256}
    fused = small_agent(**one_rollout).learn(ROLLOUT)
    kwargs = {"hidden_sizes": (16, 16), "optimizer_kwargs": {"eps": 1e-5, "fused": False}}
    plain = small_agent(**one_rollout, policy_kwargs=kwargs).learn(ROLLOUT)
    assert fused.policy.optimizer.defaults["fused"]
    assert not plain.policy.optimizer.defaults["fused"]
    expected = weights(plain.policy)
    for name, tensor in weights(fused.policy).items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=2e-5, msg=name)


def test_biases_start_at_zero() -> None:
    fresh = small_agent()
    biases = [tensor for name, tensor in weights(fresh.policy).items() if name.endswith("bias")]
    assert len(biases) == 2 * 4 + 1 + 2
    assert not any(bias.any() for bias in biases)


@pytest.fixture(scope="module")
def agent() -> RoutedPPO:
    return small_agent().learn(2 * ROLLOUT)


@pytest.fixture(scope="module")
def observations(agent: RoutedPPO) -> Tensor:
    shown = next(agent.rollout_buffer.get()).observations
    assert isinstance(shown, Tensor)
    return shown


@pytest.mark.parametrize(("name", "logit"), [("goal", torch.inf), ("proxy", -torch.inf)])
def test_one_module_equals_the_network_with_its_mixture_forced(
    agent: RoutedPPO, observations: Tensor, name: str, logit: float
) -> None:
    alone = agent.with_module(name)
    whole = small_agent().policy
    assert isinstance(whole, MotivationPolicy)
    whole.load_state_dict(agent.policy.state_dict())
    assert whole.net.mixture is not None
    with torch.no_grad():
        whole.net.mixture.get_parameter("4.bias").fill_(logit)
        ours, expected = (probabilities(policy, observations) for policy in (alone, whole))
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6)
        assert torch.equal(alone.predict_values(observations), whole.predict_values(observations))


@pytest.mark.parametrize("method", METHODS)
def test_deployed_policy_holds_one_module_and_no_mixture(method: str) -> None:
    agent = small_agent(method)
    deployed = agent.deployed()
    own, trained = deployed.state_dict(), agent.policy.state_dict()
    maps = bool(agent.method.network.score_maps)
    assert deployed.motivations == (agent.method.deployed,)
    assert len(deployed.module_names) == 1
    assert not deployed.training
    parts = {name.split(".")[1] for name in own if "." in name}
    inner = {".".join(name.split(".")[1:3]) for name in own if name.startswith("mlp_extractor.")}
    assert parts <= {"experts", "critic", "trunk", "reward_map", "maps", "agent", "0"}
    assert not any("mixture" in name for name in inner)
    assert {name for name in inner if name.startswith("experts")} == {
        f"experts.{deployed.module_names[0]}"
    }
    assert {name.split(".")[2] for name in own if ".maps." in name} == (
        {agent.method.deployed} if maps else set()
    )
    for name, tensor in own.items():
        assert torch.equal(tensor, trained[name]), name
        assert tensor.data_ptr() != trained[name].data_ptr(), name


def test_deployed_policy_shares_no_weights_with_training(agent: RoutedPPO) -> None:
    before = weights(agent.policy)
    alone = agent.deployed()
    with torch.no_grad():
        for parameter in alone.parameters():
            parameter.fill_(0.0)
    for name, tensor in weights(agent.policy).items():
        assert torch.equal(tensor, before[name])


def test_with_module_refuses_unknown_names(agent: RoutedPPO) -> None:
    with pytest.raises(ValueError, match=r"no module 'mixture': choose from goal, proxy"):
        agent.with_module("mixture")
    with pytest.raises(ValueError, match="'proxy'"):
        agent.deployed().alone("proxy")
    plain = RoutedPPO("MlpPolicy", small_env(), "naive", n_steps=8, batch_size=64, device="cpu")
    with pytest.raises(ValueError, match="has no motivation modules"):
        plain.deployed()


def test_modules_do_not_see_masked_channels_but_mixture_and_critic_do() -> None:
    agent = small_agent("routed", policy_kwargs={"hidden_sizes": (16,), "masked_channels": (3,)})
    agent.learn(ROLLOUT)
    policy = agent.policy
    assert isinstance(policy, MotivationPolicy)
    observations = next(agent.rollout_buffer.get()).observations
    assert isinstance(observations, Tensor)
    other = observations.clone()
    other[:, 3] = 1 - other[:, 3]
    with torch.no_grad():
        for name in policy.module_names:
            alone = policy.alone(name)
            assert torch.equal(probabilities(alone, observations), probabilities(alone, other))
        for head in (policy.predict_values, policy.mixture_logits):
            assert not torch.equal(head(observations), head(other))
        other[:, 1] = 1 - other[:, 1]
        assert not torch.equal(probabilities(alone, observations), probabilities(alone, other))
    assert not any("masked" in name for name in policy.state_dict())


def test_policy_refuses_masked_channels_that_do_not_exist() -> None:
    for channels in ((4,), (-1,)):
        with pytest.raises(ValueError, match=r"masked_channels must be channels .*\(4, 5, 5\)"):
            small_agent("naive", policy_kwargs={"hidden_sizes": (8,), "masked_channels": channels})
    assert PPOConfig().masked_channels == ()


def test_modules_are_averaged_when_the_mixture_is_fixed() -> None:
    agent = small_agent("unmixed").learn(ROLLOUT)
    net: Any = agent.policy.mlp_extractor
    assert net.mixture is None
    features = torch.randn(5, 100)
    with torch.no_grad():
        halves = (net.experts["goal"](features) + net.experts["proxy"](features)) / 2
        assert torch.equal(net.forward_actor(features), halves)
        alone: Any = agent.deployed().mlp_extractor
        assert torch.equal(alone.forward_actor(features), net.experts["goal"](features))


BATCH = 12

SPACES = (spaces.Box(-1, 1, (3,)), spaces.Box(-1, 1, (2,)))


def gaussian_policy(
    modules: tuple[str, ...] = ("goal", "proxy"),
    **settings: Any,  # noqa: ANN401
) -> MotivationPolicy:
    torch.manual_seed(0)
    policy = MotivationPolicy(
        *SPACES, lambda _: 1e-3, modules=modules, hidden_sizes=(8,), **settings
    )
    with torch.no_grad():
        policy.log_std.copy_(torch.tensor([-0.5, 0.3]))
    return policy


def assert_close(ours: Tensor | None, theirs: Tensor | None) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@torch.no_grad()
def test_continuous_actions_follow_sb3_gaussian() -> None:
    policy, observations = gaussian_policy(), torch.randn(BATCH, 3)
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


def test_gradient_of_the_deviation_equals_sb3() -> None:
    policy, observations = gaussian_policy(), torch.randn(BATCH, 3)
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


@pytest.mark.parametrize("by_state", [False, True])
@pytest.mark.parametrize("path", ["evaluation", "distribution"])
def test_every_parameter_lies_behind_a_gate(path: str, by_state: bool) -> None:
    policy = gaussian_policy(use_sde=by_state)
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


def test_optimizer_groups_the_deviation_as_shared() -> None:
    policy = gaussian_policy()
    (shared,) = [g for g in policy.optimizer.param_groups if g["target"] == "shared"]
    assert any(parameter is policy.log_std for parameter in shared["params"])


def test_predictions_are_clipped_to_the_space() -> None:
    policy = gaussian_policy()
    with torch.no_grad():
        policy.log_std.fill_(3.0)
    observations: NDArray[np.float32] = np.zeros((100, 3), np.float32)
    actions, _ = policy.predict(observations)
    assert (np.abs(actions) <= 1).all()
    assert (np.abs(actions) == 1).any()


def test_deployed_gaussian_policy_acts_as_its_module() -> None:
    agent = pendulum_agent(pendulums(0.5)).learn(PENDULUM_STEPS * PENDULUMS)
    alone = agent.deployed()
    assert torch.equal(alone.log_std, agent.policy.log_std)
    assert isinstance(agent.policy, MotivationPolicy)
    expert = agent.policy.net.experts["goal"]
    observations = torch.randn(BATCH, 3)
    with torch.no_grad():
        expected = agent.policy.action_net(expert(observations))
        assert_close(alone(observations, deterministic=True)[0], expected)


def test_exploration_by_state_equals_sb3_when_all_gates_are_open() -> None:
    routed = pendulum_agent(pendulums(0.5), "unrouted", use_sde=True, mixture_coef=0.0)
    routed.learn(2 * PENDULUM_STEPS * PENDULUMS)
    settings = {**SETTINGS, "n_steps": PENDULUM_STEPS, "batch_size": 64, "use_sde": True}
    stock = PPO(MotivationPolicy, VectorEnvAdapter(pendulums(0.5)), **settings)
    remove_gates(stock.policy)
    assert_same_training(routed, stock.learn(2 * PENDULUM_STEPS * PENDULUMS))


def test_deployed_policy_explores_by_state() -> None:
    agent = pendulum_agent(pendulums(0.5), use_sde=True, policy_kwargs={"squash_output": True})
    alone = agent.learn(PENDULUM_STEPS * PENDULUMS).deployed()
    assert torch.equal(alone.log_std, agent.policy.log_std)
    observations: NDArray[np.float32] = np.zeros((3, 3), np.float32)
    for acting in (agent, alone):
        actions, _ = acting.predict(observations)
        assert (np.abs(actions) <= 2).all()
