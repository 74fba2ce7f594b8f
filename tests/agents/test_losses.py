"""The losses against closed forms and PyTorch's distributions, and normalized advantages."""

import math
from typing import Any

import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import kl_divergence as sb3_divergence
from stable_baselines3.common.distributions import make_proba_distribution
from torch.distributions import Bernoulli, Categorical, kl_divergence

from agents import losses
from agents.losses import AdvantageNormalization, normalized
from agents.rollout_buffer import HIDDEN, NEGATIVE, OPEN, POSITIVE
from tests.agents.sampled import ACTIONS


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_normalize_gives_mean_0_and_deviation_1() -> None:
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
def test_policy_loss_is_clipped_on_one_side(
    ratio: float, advantage: float, loss: float, slope: float
) -> None:
    x = tensor(ratio).requires_grad_()
    value = losses.policy_loss(x, tensor(advantage), 0.2)
    value.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(value.detach(), torch.tensor(loss, dtype=torch.float64))
    torch.testing.assert_close(x.grad, tensor(slope))


def test_value_loss_is_the_mean_squared_error() -> None:
    assert losses.value_loss(tensor(1.0, 2.0), tensor(3.0, 1.0)).item() == 2.5


def test_entropy_loss_agrees_with_its_estimate_from_samples() -> None:
    torch.manual_seed(0)
    distribution: Any = Categorical(logits=torch.randn(50_000, 4, dtype=torch.float64))
    exact, log_prob = distribution.entropy(), distribution.log_prob(distribution.sample())
    closed = losses.entropy_loss(exact, log_prob)
    torch.testing.assert_close(closed, -exact.mean())
    estimate = losses.entropy_loss(None, log_prob)
    torch.testing.assert_close(estimate, log_prob.mean())
    deviation = log_prob.std() / math.sqrt(len(log_prob))
    assert abs(estimate - closed) < 5 * deviation


NUM_LOGITS = {"discrete": 3, "several": 5, "switches": 2}


def drawn_distribution(name: str) -> Any:  # noqa: ANN401
    """Return a distribution of SB3 over four samples' actions, with parameters drawn by chance."""
    space = ACTIONS[name]
    distribution: Any = make_proba_distribution(space)
    if isinstance(space, spaces.Box):
        return distribution.proba_distribution(*torch.randn(2, 4, *space.shape))
    return distribution.proba_distribution(torch.randn(4, NUM_LOGITS[name]))


@pytest.mark.parametrize("name", ACTIONS)
def test_divergence_is_the_sum_over_the_actions_of_a_sample(name: str) -> None:
    torch.manual_seed(0)
    one, other = drawn_distribution(name), drawn_distribution(name)
    divergence = losses.kl_from(one, other)
    expected = sb3_divergence(one, other).reshape(4, -1).sum(-1)
    torch.testing.assert_close(divergence, expected)
    assert (divergence > 0).all()
    assert not losses.kl_from(one, one).any()


def test_mixture_loss_is_the_mean_cross_entropy() -> None:
    logits, is_first = tensor(0.0, 2.0, -1.0), torch.tensor([True, False, True])
    coin: Any = Bernoulli(logits=logits)
    surprise = -coin.log_prob(is_first.double())
    torch.testing.assert_close(losses.mixture_loss(logits, is_first), surprise.mean())
    certain = losses.mixture_loss(tensor(1e3, -1e3), torch.tensor([False, True]))
    assert certain.item() == 1e3


def test_mixture_loss_and_its_gradient_are_0_when_nothing_is_labeled() -> None:
    weight = tensor(3.0).requires_grad_()
    none = torch.zeros(0, dtype=torch.bool)
    loss = losses.mixture_loss((weight * tensor(1.0, 2.0))[:0], none)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0.0
    torch.testing.assert_close(weight.grad, tensor(0.0))


def test_approximate_kl_is_unbiased_and_never_negative() -> None:
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


ROUTES = torch.tensor([POSITIVE, NEGATIVE, NEGATIVE, HIDDEN, HIDDEN, HIDDEN, OPEN])

OBSERVED = ROUTES <= NEGATIVE

VALUES = torch.tensor([1.0, -2.0, 4.0, 10.0, 30.0, 20.0, 7.0], dtype=torch.float64)


def test_normalized_over_all_equals_sb3() -> None:
    assert torch.equal(normalized(VALUES, ROUTES, "all"), losses.normalize(VALUES))
    assert torch.equal(normalized(VALUES, ROUTES, "none"), VALUES)


def test_normalized_over_observed_uses_their_mean_and_deviation() -> None:
    # 1, -2 and 4 have mean 1 and deviation 3
    torch.testing.assert_close(normalized(VALUES, ROUTES, "observed"), (VALUES - 1) / 3)


def test_normalized_over_route_uses_each_route_alone() -> None:
    # the deviation of -2 and 4 is 3 * sqrt(2); the only positive and the only open one stay
    half = 0.5**0.5
    expected = torch.tensor([1.0, -half, half, -1.0, 1.0, 0.0, 7.0], dtype=torch.float64)
    torch.testing.assert_close(normalized(VALUES, ROUTES, "route"), expected)


@pytest.mark.parametrize(
    ("over", "coupled"), [("all", True), ("observed", False), ("route", False)]
)
def test_hidden_samples_change_observed_ones_only_over_all(
    over: AdvantageNormalization, coupled: bool
) -> None:
    other = torch.where(OBSERVED, VALUES, -1e9)
    pair = [normalized(values, ROUTES, over)[OBSERVED] for values in (VALUES, other)]
    assert torch.equal(*pair) != coupled


@pytest.mark.parametrize(("over", "coupled"), [("all", True), ("observed", True), ("route", False)])
def test_observed_samples_move_hidden_zeros_but_over_route(
    over: AdvantageNormalization, coupled: bool
) -> None:
    zero_where_hidden = torch.where(OBSERVED, VALUES, 0.0)
    assert bool(normalized(zero_where_hidden, ROUTES, over)[ROUTES == HIDDEN].any()) == coupled


@pytest.mark.parametrize(
    "routes", [[HIDDEN, HIDDEN, HIDDEN], [HIDDEN, NEGATIVE, OPEN]], ids=["none observed", "one"]
)
def test_advantages_stay_when_fewer_than_two_are_observed(routes: list[int]) -> None:
    advantages = torch.tensor([1.0, 2.0, 9.0])
    assert torch.equal(normalized(advantages, torch.tensor(routes), "observed"), advantages)


def test_advantages_stay_finite_when_the_observed_ones_are_equal() -> None:
    advantages, routes = torch.tensor([0.1, 0.1, 3.0]), torch.tensor([NEGATIVE, POSITIVE, HIDDEN])
    assert torch.equal(normalized(advantages, routes, "observed"), advantages)
    same = torch.tensor([0.5, 0.5, 3.0])
    expected = torch.tensor([0.0, 0.0, 3.0])
    assert torch.equal(
        normalized(same, torch.tensor([NEGATIVE, NEGATIVE, HIDDEN]), "route"), expected
    )
