"""Tests of all methods after training: what they train, keep and refuse."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from lm.methods import METHODS
from lm.models.hf import RoutedCausalLM
from lm.models.language_model import LanguageModel
from lm.posthoc import POSTHOC, PostHoc, PostHocSettings
from tests.lm.attacks.row_factories import loss_of, same, stories, weights
from tests.lm.models import hf_factories
from tests.lm.models.gpt_factories import EXPANDED, SMALL, random_gpt

MODELS: dict[str, Callable[[], LanguageModel]] = {
    "gpt": lambda: random_gpt(SMALL),
    "gpt, expanded": lambda: random_gpt(EXPANDED),
    "llama, expanded": lambda: hf_factories.expanded_model("llama"),
    **{
        family: lambda family=family: RoutedCausalLM(hf_factories.plain_model(family))  # type: ignore[misc]
        for family in hf_factories.CONFIGS
    },
}
FITTED: dict[str, dict[str, Any]] = {
    "rmu": {"layer": 1},
    "cir": {"layers": (1,), "components": 2, "refresh": 1},
    "layered-rmu": {"layer": 1},
}
"""Settings of the methods that train only down projections, for models of two layers."""
WITH_LOSSES = [name for name in POSTHOC if name not in FITTED]
FORGET, OTHERS = stories(1), stories(2)


def method(name: str, **changes: float) -> PostHoc:
    """Return a method with its default settings but for a few steps."""
    fitted = FITTED.get(name, {}) | {"steps": 4, "learning_rate": 1e-2} | changes
    return replace(PostHocSettings().method(name), **fitted)


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
        if name not in FITTED or id(value) in down_projections
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
@pytest.mark.parametrize("name", [name for name in WITH_LOSSES if name != "maxent"])
def test_unlearn_raises_the_forget_loss(name: str, kind: str) -> None:
    model, forget_loss = MODELS[kind](), loss_of(FORGET)
    after = unlearn(name, model, steps=10)
    assert forget_loss(after)["loss"] > forget_loss(model)["loss"]


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("name", WITH_LOSSES)
def test_unlearn_lowers_the_retain_loss_by_a_large_weight(name: str, kind: str) -> None:
    model, retain_loss = MODELS[kind](), loss_of(OTHERS)
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


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        *((name, {"learning_rate": 0.0}) for name in POSTHOC),
        *((name, {"retain_weight": float("nan")}) for name in POSTHOC),
        *((name, {"steps": -1}) for name in POSTHOC),
        ("npo", {"beta": 0.0}),
        ("cir", {"refresh": 0}),
        ("layered-rmu", {"folds": 0}),
        ("simnpo", {"beta": -1.0}),
        ("simnpo", {"gamma": -0.5}),
    ],
)
def test_methods_refuse_settings_out_of_range(name: str, changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="was given: give"):
        method(name, **changes)
