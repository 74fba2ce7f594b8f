"""Tests of the methods that change outputs, by closed forms and in their limits."""

from math import log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lm.models.language_model import LanguageModel
from lm.posthoc import MaxEnt, outputs
from lm.posthoc.method import Likelihoods
from lm.posthoc.outputs import entropies, entropy, npo_loss, simnpo_loss
from lm.training.batches import Batch
from tests.lm.attacks.row_factories import stories
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
def test_npo_of_an_unchanged_model_has_the_gradient_of_ascent(
    nats: list[float], beta: float
) -> None:
    now = double(nats)
    loss = npo_loss(now, now.detach(), beta)
    assert loss.item() == pytest.approx(2 / beta * log(2))
    torch.testing.assert_close(gradient(loss, now), gradient(-now.mean(), now))


@settings(deadline=None)
@given(NATS, NATS, BETAS)
def test_npo_gradient_is_ascent_weighted_by_likelihoods(
    nats: list[float], before: list[float], beta: float
) -> None:
    now, then = double(nats), double(before)
    p, reference = ((-beta * each.detach()).exp() for each in (now, then))
    expected = -2 * p / (p + reference) / 3
    torch.testing.assert_close(gradient(npo_loss(now, then, beta), now), expected)


@settings(deadline=None)
@given(NATS, NATS)
def test_npo_tends_to_ascent_as_beta_tends_to_0(nats: list[float], before: list[float]) -> None:
    now, then, beta = double(nats), double(before), 1e-6
    ascent = -(now - then).mean()
    assert (npo_loss(now, then, beta) - 2 / beta * log(2) - ascent).item() == pytest.approx(
        0, abs=2e-3
    )


def test_npo_is_bounded_and_ascent_is_not() -> None:
    far = Likelihoods(torch.tensor([1e6]), torch.tensor([1]))
    assert float(npo_loss(far.nats_b, torch.tensor([1.0]), beta=0.1)) == 0
    assert float(-far.mean) == -1e6


@pytest.mark.parametrize(
    ("beta", "gamma", "value"),
    [
        (1.0, 0.0, 2 * log(5 / 4)),  # 1 + 4^-1
        (2.0, 0.0, log(17 / 16)),  # 1 + 4^-2
        (2.0, log(3), log(19 / 16)),  # 1 + 3 * 4^-2
    ],
)
def test_simnpo_of_tokens_of_a_half_and_an_eighth(beta: float, gamma: float, value: float) -> None:
    story = Likelihoods(torch.tensor([log(2) + log(8)]), torch.tensor([2]))
    assert float(simnpo_loss(story, beta, gamma)) == pytest.approx(value)


@settings(deadline=None)
@given(NATS, BETAS, st.floats(0, 3))
def test_simnpo_matches_the_paper_and_ignores_length(
    nats: list[float], beta: float, gamma: float
) -> None:
    tokens = torch.tensor([1, 2, 7])
    story = Likelihoods(double(nats), tokens)
    reward = beta / tokens * -story.nats_b
    expected = (-2 / beta * (-reward - gamma).sigmoid().log()).mean()
    torch.testing.assert_close(simnpo_loss(story, beta, gamma), expected)
    twice = Likelihoods(2 * story.nats_b, 2 * tokens)
    torch.testing.assert_close(simnpo_loss(twice, beta, gamma), expected)


@settings(deadline=None)
@given(NATS, BETAS)
def test_simnpo_of_single_tokens_equals_npo_with_a_certain_reference(
    nats: list[float], beta: float
) -> None:
    now = double(nats)
    single = simnpo_loss(Likelihoods(now, torch.ones(3)), beta, 0.0)
    torch.testing.assert_close(single, npo_loss(now, torch.zeros(3), beta))


@pytest.mark.parametrize(
    ("shares", "nats"),
    [
        ([0.25, 0.25, 0.25, 0.25], log(4)),
        ([0.5, 0.25, 0.125, 0.125], 1.75 * log(2)),
        ([1.0, 0.0, 0.0, 0.0], 0.0),
    ],
)
def test_entropy_of_known_distributions(shares: list[float], nats: float) -> None:
    logits = torch.tensor(shares).clamp(min=1e-30).log()
    assert float(entropy(logits)) == pytest.approx(nats, abs=1e-6)
    assert float(entropy(logits + 7)) == pytest.approx(nats, abs=1e-6)


def test_gradient_of_entropy_is_that_of_its_closed_form() -> None:
    logits = torch.tensor([0.3, -1.0, 2.0, 0.5], dtype=torch.float64, requires_grad=True)
    p = logits.detach().softmax(-1)
    # dH / dlogit_v = -p_v (log p_v + H)
    expected = -p * (p.log() + entropy(logits.detach()))
    torch.testing.assert_close(gradient(entropy(logits), logits), expected)


def batch_of(seed: int) -> Batch:
    rows = stories(seed)
    return Batch(rows.inputs, rows.targets, torch.zeros_like(rows.inputs))


def test_entropies_in_pieces_equal_those_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = random_gpt(SMALL), batch_of(1)

    def computed() -> tuple[Tensor, Tensor]:
        nats = entropies(model, batch)
        model.zero_grad()
        nats.sum().backward()  # type: ignore[no-untyped-call]
        assert model.embedding.grad is not None
        return nats.detach(), model.embedding.grad.clone()

    whole = computed()
    with torch.no_grad():
        torch.testing.assert_close(whole[0], entropy(model(batch.inputs)))
    monkeypatch.setattr(outputs, "piece_length", lambda *sizes: 2)
    for one, other in zip(computed(), whole, strict=True):
        torch.testing.assert_close(one, other)


def test_maxent_brings_predictions_on_forget_texts_close_to_uniform() -> None:
    model, forget = random_gpt(SMALL), batch_of(1)
    real = forget.targets >= 0

    def nats(of: LanguageModel) -> float:
        with torch.no_grad():
            return float(entropy(of(forget.inputs))[real].mean())

    method = MaxEnt(steps=60, learning_rate=2e-2, retain_weight=1e-3)
    after = method.unlearn(model, stories(1), stories(2), 3, seed=0)
    assert nats(model) < log(13) - 0.1
    assert nats(after) == pytest.approx(log(13), abs=2e-2)
