"""The losses against closed forms and PyTorch's distributions, and GAE against its series."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch.distributions import Bernoulli, Categorical, kl_divergence

from agents import losses
from agents.rollout_buffer import RoutedBuffer


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_normalized_advantages_have_mean_0_and_deviation_1() -> None:
    advantages = losses.normalize(tensor(1.0, 2.0, 3.0))
    torch.testing.assert_close(advantages, tensor(-1.0, 0.0, 1.0))
    assert losses.normalize(tensor(5.0)).equal(tensor(5.0))
    assert not losses.normalize(tensor(2.0, 2.0)).any()


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        (1.1, 2.0, -2.2, -2.0),  # inside the bounds
        (1.5, 2.0, -2.4, 0.0),  # far enough in the good direction: clipped
        (0.5, 2.0, -1.0, -2.0),  # in the bad direction: never clipped
        (0.5, -2.0, 1.6, 0.0),
        (1.5, -2.0, 3.0, 2.0),
    ],
)
def test_the_surrogate_is_clipped_on_one_side(
    ratio: float, advantage: float, loss: float, slope: float
) -> None:
    x = tensor(ratio).requires_grad_()
    value = losses.policy_loss(x, tensor(advantage), 0.2)
    value.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(value.detach(), torch.tensor(loss, dtype=torch.float64))
    torch.testing.assert_close(x.grad, tensor(slope))


def test_the_value_loss_is_the_mean_square() -> None:
    assert losses.value_loss(tensor(1.0, 2.0), tensor(3.0, 1.0)).item() == 2.5


def test_the_entropy_is_that_of_the_distribution_or_of_the_samples() -> None:
    torch.manual_seed(0)
    distribution: Any = Categorical(logits=torch.randn(50_000, 4, dtype=torch.float64))
    exact, log_prob = distribution.entropy(), distribution.log_prob(distribution.sample())
    closed = losses.entropy_loss(exact, log_prob)
    torch.testing.assert_close(closed, -exact.mean())
    estimate = losses.entropy_loss(None, log_prob)
    torch.testing.assert_close(estimate, log_prob.mean())
    deviation = log_prob.std() / math.sqrt(len(log_prob))
    assert abs(estimate - closed) < 5 * deviation


def test_the_mixture_loss_is_the_mean_surprise_of_a_coin() -> None:
    logits, is_first = tensor(0.0, 2.0, -1.0), torch.tensor([True, False, True])
    coin: Any = Bernoulli(logits=logits)
    surprise = -coin.log_prob(is_first.double())
    torch.testing.assert_close(losses.mixture_loss(logits, is_first), surprise.mean())
    certain = losses.mixture_loss(tensor(1e3, -1e3), torch.tensor([False, True]))
    assert certain.item() == 1e3


def test_the_mixture_loss_of_no_label_is_0_with_a_gradient_of_0() -> None:
    weight = tensor(3.0).requires_grad_()
    none = torch.zeros(0, dtype=torch.bool)
    loss = losses.mixture_loss((weight * tensor(1.0, 2.0))[:0], none)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0.0
    torch.testing.assert_close(weight.grad, tensor(0.0))


def test_the_divergence_is_estimated_without_bias_and_never_negative() -> None:
    torch.manual_seed(0)
    old: Any = Categorical(logits=tensor(0, 1, 2))
    new: Any = Categorical(logits=tensor(0.5, 1, 1))
    actions = old.sample((100_000,))
    log_ratio = new.log_prob(actions) - old.log_prob(actions)
    terms = torch.stack([losses.approximate_kl(log_ratio[[n]]) for n in range(200)])
    assert (terms >= 0).all()
    samples = log_ratio.exp() - 1 - log_ratio
    deviation = samples.std() / math.sqrt(len(samples))
    assert abs(losses.approximate_kl(log_ratio) - kl_divergence(old, new)) < 5 * deviation


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize(("gamma", "gae_lambda"), [(0.97, 0.95), (1.0, 1.0), (0.9, 0.0)])
def test_advantages_of_constant_values_are_a_geometric_series(
    gamma: float, gae_lambda: float, ended: bool
) -> None:
    steps, lanes, value, reward = 10, 3, 0.7, 0.3
    space = spaces.Box(-1, 1, (2,))
    settings: dict[str, Any] = {"gamma": gamma, "gae_lambda": gae_lambda, "n_envs": lanes}
    buffer = RoutedBuffer(steps, space, spaces.Discrete(2), "cpu", **settings)
    values = torch.full((lanes, 1), value)
    for _ in range(steps):
        zeros = np.zeros((lanes, 2), np.float32)
        paid, start = np.full(lanes, reward), np.zeros(lanes)
        buffer.add(zeros, np.zeros((lanes, 1)), paid, start, values, torch.zeros(lanes))
    buffer.compute_returns_and_advantage(values, np.full(lanes, ended))
    # each step's error is delta, but for the last one of an ended episode
    delta = reward + gamma * value - value
    last = reward - value if ended else delta
    for step in range(steps):
        ahead = steps - 1 - step
        decay = gamma * gae_lambda
        expected = delta * sum(decay**n for n in range(ahead)) + last * decay**ahead
        np.testing.assert_allclose(buffer.advantages[step], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(buffer.returns, buffer.advantages + buffer.values)
