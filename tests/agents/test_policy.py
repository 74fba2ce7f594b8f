"""The policy's short path equals SB3's, and its samples are the distribution's."""

from typing import Any

import pytest
import torch
from stable_baselines3.common.distributions import CategoricalDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor

from agents import MotivationPolicy, RoutedPPO
from agents.policy import MotivationNet, gumbel_sample
from tests.agents.small import ROLLOUT, remove_gates, small_agent, weights


@pytest.fixture(scope="module")
def agent() -> RoutedPPO:
    return small_agent().learn(ROLLOUT)


@pytest.fixture(scope="module")
def policy(agent: RoutedPPO) -> MotivationPolicy:
    assert isinstance(agent.policy, MotivationPolicy)
    return agent.policy


@pytest.fixture(scope="module")
def observations(agent: RoutedPPO) -> Tensor:
    return next(agent.rollout_buffer.get()).observations


def assert_close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@torch.no_grad()
def test_evaluation_equals_the_path_of_sb3(policy: MotivationPolicy, observations: Tensor) -> None:
    actions = torch.arange(len(observations)) % 4
    ours = policy.evaluate_actions(observations, actions)
    theirs = ActorCriticPolicy.evaluate_actions(policy, observations, actions)
    for one, other in zip(ours, theirs, strict=True):
        assert one is not None
        assert other is not None
        assert_close(one, other)


@torch.no_grad()
def test_a_deterministic_action_is_the_likeliest(
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
def test_the_log_probability_is_that_of_the_sampled_action(
    policy: MotivationPolicy, observations: Tensor
) -> None:
    actions, values, log_prob = policy(observations)
    again = policy.evaluate_actions(observations, actions)
    assert_close(values, again[0])
    assert_close(log_prob, again[1])


def test_gumbel_samples_have_the_frequencies_of_the_softmax() -> None:
    torch.manual_seed(0)
    num_samples = 200_000
    logits = torch.tensor([2.0, 0.0, -1.0, 0.5])
    counts = torch.bincount(gumbel_sample(logits.expand(num_samples, 4)), minlength=4)
    chance = torch.softmax(logits, -1)
    deviation = (num_samples * chance * (1 - chance)).sqrt()
    assert ((counts - num_samples * chance).abs() < 5 * deviation).all()


def test_gumbel_samples_never_take_the_impossible() -> None:
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


@pytest.mark.parametrize("modules", [(), ("a", "a"), ("a", "b", "c")])
def test_there_are_one_or_two_modules(modules: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="one or two motivation modules"):
        MotivationNet(3, modules, (4,))


def test_biases_start_at_zero() -> None:
    fresh = small_agent()
    biases = [tensor for name, tensor in weights(fresh.policy).items() if name.endswith("bias")]
    assert len(biases) == 2 * 4 + 1 + 2
    assert not any(bias.any() for bias in biases)


def test_the_blend_is_that_of_the_paper() -> None:
    net = MotivationNet(3, ("first", "second"), (5,)).double()
    x = torch.randn(7, 3, dtype=torch.float64)
    remove_gates(net)
    share = torch.sigmoid(net.mixture_logits(x)).unsqueeze(-1)
    blend = share * net.experts["first"](x) + (1 - share) * net.experts["second"](x)
    torch.testing.assert_close(net.forward_actor(x), blend)
    acting = [p for name, p in net.named_parameters() if "critic" not in name]
    slopes = [torch.autograd.grad(y.square().sum(), acting) for y in (net.forward_actor(x), blend)]
    torch.testing.assert_close(*slopes)
    with torch.no_grad():
        actor, critic = net(x)
        assert torch.equal(actor, net.forward_actor(x))
        assert torch.equal(critic, net.forward_critic(x))
