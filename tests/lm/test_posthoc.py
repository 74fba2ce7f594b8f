"""Tests of the methods after training: losses, gradients and the parameters that they train."""

from collections.abc import Callable
from dataclasses import replace
from math import log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lm.methods import METHODS
from lm.models.hf import RoutedCausalLM
from lm.models.language_model import LanguageModel
from lm.posthoc import (
    POSTHOC,
    RMU,
    Likelihoods,
    PostHoc,
    PostHocSettings,
    descend,
    forget_and_other_batches,
    likelihoods,
    npo_loss,
    random_direction,
    simnpo_loss,
)
from lm.training.batches import Batch
from tests.lm.attacks.row_factories import LENGTHS, loss_of, same, stories, weights
from tests.lm.models import hf_factories
from tests.lm.models.gpt_factories import EXPANDED, SMALL, random_gpt

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


def test_likelihoods_sum_the_log_probabilities_of_tokens() -> None:
    model, rows = random_gpt(SMALL), stories()
    batch = Batch(rows.inputs, rows.targets, torch.zeros_like(rows.inputs))
    computed = Likelihoods(*(part.detach() for part in likelihoods(model, batch)))
    assert computed.tokens_b.tolist() == list(LENGTHS)
    with torch.no_grad():
        chances = model(rows.inputs).softmax(-1)
    for story, length in enumerate(LENGTHS):
        likely = [float(chances[story, t, rows.targets[story, t]]) for t in range(length)]
        expected = -sum(map(log, likely))
        assert float(computed.nats_b[story]) == pytest.approx(expected, rel=1e-5)
    assert float(computed.mean) == pytest.approx(float(computed.nats_b.sum()) / sum(LENGTHS))


def test_rmu_trains_only_down_projections_up_to_its_layer() -> None:
    model = random_gpt(SMALL)
    before = weights(model)
    steered = RMU(layer=0, steps=3).unlearn(model, stories(1), stories(2), 2, seed=0)
    assert same(weights(model), before)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(parameter.requires_grad for parameter in steered.parameters())
    moved = {name for name, value in weights(steered).items() if not value.equal(before[name])}
    assert moved == {"blocks.0.mlp.original.down.weight"}


def test_rmu_steers_forget_activations_and_keeps_others() -> None:
    model, forget, others = random_gpt(SMALL), stories(1), stories(2)
    weak = RMU(layer=1, coefficient=5.0, retain_weight=1.0, steps=60, learning_rate=3e-2)
    target = 5.0 * random_direction(model, 0)

    def distances(steered: LanguageModel) -> tuple[float, float]:
        real = [rows.targets >= 0 for rows in (forget, others)]
        with torch.no_grad():
            away = (steered.residual(forget.inputs, 1) - target)[real[0]].square().mean()
            drift = steered.residual(others.inputs, 1) - model.residual(others.inputs, 1)
        return float(away), float(drift[real[1]].square().mean())

    before, _ = distances(model)
    loose, drifted = distances(weak.unlearn(model, forget, others, 3, seed=0))
    assert loose < before / 2
    strong = replace(weak, retain_weight=1e4)
    assert distances(strong.unlearn(model, forget, others, 3, seed=0))[1] < drifted


def test_random_direction_is_a_unit_vector_without_negative_entries() -> None:
    direction = random_direction(random_gpt(SMALL), 3)
    assert float(direction.norm()) == pytest.approx(1.0)
    assert bool((direction >= 0).all())
    assert not torch.equal(direction, random_direction(random_gpt(SMALL), 4))


def test_rmu_refuses_a_layer_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="layer 2 was given: give a layer below 2"):
        RMU(layer=2).unlearn(random_gpt(SMALL), stories(1), stories(2), 2, 0)
    with pytest.raises(ValueError, match="was given: give"):
        RMU(coefficient=0)


MODELS: dict[str, Callable[[], LanguageModel]] = {
    "gpt": lambda: random_gpt(SMALL),
    "gpt, expanded": lambda: random_gpt(EXPANDED),
    "llama, expanded": lambda: hf_factories.expanded_model("llama"),
    **{
        family: lambda family=family: RoutedCausalLM(hf_factories.plain_model(family))  # type: ignore[misc]
        for family in hf_factories.CONFIGS
    },
}
WITH_LOSSES = [name for name in POSTHOC if name != "rmu"]
FORGET, OTHERS = stories(1), stories(2)


def method(name: str, **changes: float) -> PostHoc:
    """Return a method with its default settings but for a few steps."""
    depth = {"layer": 1} if name == "rmu" else {}
    changes = depth | {"steps": 4, "learning_rate": 1e-2} | changes
    return replace(PostHocSettings().method(name), **changes)  # type: ignore[arg-type]


def unlearn(name: str, model: LanguageModel, seed: int = 0, **changes: float) -> LanguageModel:
    return method(name, **changes).unlearn(model, FORGET, OTHERS, 2, seed)


@pytest.mark.parametrize("name", POSTHOC)
def test_listed_methods_can_be_run_by_name_and_have_a_summary(name: str) -> None:
    assert METHODS[name].posthoc == name
    assert METHODS[name].summary == POSTHOC[name].summary
    assert POSTHOC[name].summary.endswith(".")
    assert type(PostHocSettings().method(name)) is POSTHOC[name]


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("name", POSTHOC)
def test_unlearn_trains_a_copy_and_keeps_the_model_unchanged(name: str, kind: str) -> None:
    model = MODELS[kind]()
    before = weights(model)
    after = unlearn(name, model)
    assert same(weights(model), before)
    moved = {part for part, value in after.named_parameters() if not value.equal(before[part])}
    down_projections = {id(after.down_proj(layer)) for layer in range(2)}
    assert moved == {
        part
        for part, value in after.named_parameters()
        if name != "rmu" or id(value) in down_projections
    }
    assert all(value.requires_grad and value.grad is None for value in after.parameters())


@pytest.mark.parametrize("name", POSTHOC)
def test_unlearn_is_deterministic_for_a_seed(name: str) -> None:
    one, two, other = (weights(unlearn(name, random_gpt(SMALL), seed)) for seed in (5, 5, 6))
    assert same(one, two)
    assert not same(one, other)


@pytest.mark.parametrize("name", POSTHOC)
def test_unlearn_returns_the_same_weights_when_there_are_no_steps(name: str) -> None:
    model = random_gpt(SMALL)
    assert same(weights(unlearn(name, model, steps=0)), weights(model))


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("name", WITH_LOSSES)
def test_unlearn_raises_the_forget_loss_and_lowers_the_retain_loss(name: str, kind: str) -> None:
    model = MODELS[kind]()
    forget_loss, retain_loss = (loss_of(rows) for rows in (FORGET, OTHERS))
    after = unlearn(name, model, steps=10)
    assert forget_loss(after)["loss"] > forget_loss(model)["loss"]
    weighted = unlearn(name, model, steps=10, retain_weight=100.0)
    assert retain_loss(weighted)["loss"] < retain_loss(model)["loss"]


@pytest.mark.parametrize("name", POSTHOC)
def test_unlearn_refuses_texts_of_one_kind_alone(name: str) -> None:
    nothing = FORGET.take(torch.zeros(3, dtype=torch.bool))
    for pair, message in (
        ((nothing, OTHERS), "0 stories to forget and 3 others"),
        ((FORGET, nothing), "3 stories to forget and 0 others"),
    ):
        with pytest.raises(ValueError, match=message):
            method(name).unlearn(random_gpt(SMALL), *pair, 2, 0)


@pytest.mark.parametrize("name", POSTHOC)
def test_unlearn_refuses_a_diverging_loss(name: str) -> None:
    with pytest.raises(ValueError, match=r"the loss is not finite .* lower the learning rate"):
        unlearn(name, random_gpt(SMALL), learning_rate=1e30)


def test_unlearn_refuses_weights_that_are_not_finite_after_the_last_step() -> None:
    model = random_gpt(SMALL)

    def steep(forget: Batch, others: Batch) -> Tensor:
        return (model.down_proj(0) * 0).sqrt().sum()  # 0, with a slope of infinity times 0

    batches = forget_and_other_batches(FORGET, OTHERS, 2, 0)
    with pytest.raises(ValueError, match=r"a weight is not finite after 1 steps .* lower"):
        descend(model, steep, batches, method("npo", steps=1))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        *((name, {"learning_rate": 0.0}) for name in POSTHOC),
        *((name, {"retain_weight": float("nan")}) for name in POSTHOC),
        *((name, {"steps": -1}) for name in POSTHOC),
        ("npo", {"beta": 0.0}),
        ("simnpo", {"beta": -1.0}),
        ("simnpo", {"gamma": -0.5}),
    ],
)
def test_methods_refuse_settings_out_of_range(name: str, changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="was given: give"):
        method(name, **changes)
