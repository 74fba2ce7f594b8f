"""The losses of unlearning have the values and gradients that are known by hand."""

from math import log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lm.posthoc import Stories, graddiff_loss, npo_loss, read, simnpo_loss
from lm.training.batches import Batch
from tests.lm.attacks.row_factories import LENGTHS, stories
from tests.lm.models.gpt_factories import SMALL, random_gpt

NATS = st.lists(st.floats(0.1, 50), min_size=3, max_size=3)
BETAS = st.floats(0.01, 5)


def double(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def gradient(loss: Tensor, of: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(loss, of)
    return found


@settings(deadline=None)
@given(NATS, BETAS)
def test_npo_of_an_unchanged_model_is_known_and_pulls_as_ascent_does(
    nats: list[float], beta: float
) -> None:
    now = double(nats)
    loss = npo_loss(now, now.detach(), beta)
    assert loss.item() == pytest.approx(2 / beta * log(2))
    torch.testing.assert_close(gradient(loss, now), gradient(-now.mean(), now))


@settings(deadline=None)
@given(NATS, NATS, BETAS)
def test_the_pull_of_npo_is_that_of_ascent_weighed_by_likelihoods(
    nats: list[float], before: list[float], beta: float
) -> None:
    now, then = double(nats), double(before)
    p, reference = ((-beta * each.detach()).exp() for each in (now, then))
    weighed = -2 * p / (p + reference) / 3
    torch.testing.assert_close(gradient(npo_loss(now, then, beta), now), weighed)


@settings(deadline=None)
@given(NATS, NATS)
def test_npo_tends_to_ascent_as_beta_tends_to_0(nats: list[float], before: list[float]) -> None:
    now, then, beta = double(nats), double(before), 1e-6
    ascent = -(now - then).mean()
    assert (npo_loss(now, then, beta) - 2 / beta * log(2) - ascent).item() == pytest.approx(
        0, abs=2e-3
    )


def test_npo_is_bounded_and_ascent_is_not() -> None:
    far = Stories(torch.tensor([1e6]), torch.tensor([1]))
    assert float(npo_loss(far.nats_b, torch.tensor([1.0]), beta=0.1)) == 0
    assert float(graddiff_loss(far)) == -1e6


@pytest.mark.parametrize(
    ("beta", "gamma", "value"),
    [
        (1.0, 0.0, 2 * log(5 / 4)),  # 1 + 4^-1
        (2.0, 0.0, log(17 / 16)),  # 1 + 4^-2
        (2.0, log(3), log(19 / 16)),  # 1 + 3 * 4^-2
    ],
)
def test_simnpo_of_tokens_of_a_half_and_an_eighth(beta: float, gamma: float, value: float) -> None:
    story = Stories(torch.tensor([log(2) + log(8)]), torch.tensor([2]))
    assert float(simnpo_loss(story, beta, gamma)) == pytest.approx(value)


@settings(deadline=None)
@given(NATS, BETAS, st.floats(0, 3))
def test_simnpo_is_the_formula_of_its_paper_and_blind_to_length(
    nats: list[float], beta: float, gamma: float
) -> None:
    tokens = torch.tensor([1, 2, 7])
    story = Stories(double(nats), tokens)
    reward = beta / tokens * -story.nats_b
    expected = (-2 / beta * (-reward - gamma).sigmoid().log()).mean()
    torch.testing.assert_close(simnpo_loss(story, beta, gamma), expected)
    twice = Stories(2 * story.nats_b, 2 * tokens)
    torch.testing.assert_close(simnpo_loss(twice, beta, gamma), expected)


@settings(deadline=None)
@given(NATS, BETAS)
def test_simnpo_of_single_tokens_is_npo_beside_a_certain_model(
    nats: list[float], beta: float
) -> None:
    now = double(nats)
    single = simnpo_loss(Stories(now, torch.ones(3)), beta, 0.0)
    torch.testing.assert_close(single, npo_loss(now, torch.zeros(3), beta))


def test_stories_are_as_likely_as_their_tokens_together() -> None:
    model, rows = random_gpt(SMALL), stories()
    batch = Batch(rows.inputs, rows.targets, torch.zeros_like(rows.inputs))
    found = Stories(*(part.detach() for part in read(model, batch)))
    assert found.tokens_b.tolist() == list(LENGTHS)
    with torch.no_grad():
        chances = model(rows.inputs).softmax(-1)
    for story, length in enumerate(LENGTHS):
        likely = [float(chances[story, t, rows.targets[story, t]]) for t in range(length)]
        expected = -sum(map(log, likely))
        assert float(found.nats_b[story]) == pytest.approx(expected, rel=1e-5)
    assert float(found.mean) == pytest.approx(float(found.nats_b.sum()) / sum(LENGTHS))
