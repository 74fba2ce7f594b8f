"""What all methods after training have in common, for models of both kinds."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from lm.config import UnlearnConfig
from lm.methods import POSTHOC, PostHoc
from lm.models.hf import RoutedCausalLM
from lm.models.language_model import LanguageModel
from lm.posthoc import batches_of, descend
from lm.training.batches import Batch
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
WITH_LOSSES = [name for name in POSTHOC if name != "rmu"]
FORGET, OTHERS = stories(1), stories(2)


def settings(name: str, **changes: float) -> Any:  # noqa: ANN401
    """Return the settings of a method, at its defaults but for a few steps."""
    own = getattr(UnlearnConfig(), name)
    depth = {"layer": 1} if name == "rmu" else {}
    return replace(own, **depth | {"steps": 4, "learning_rate": 1e-2} | changes)


def unlearn(name: str, model: LanguageModel, seed: int = 0, **changes: float) -> LanguageModel:
    return POSTHOC[name](model, FORGET, OTHERS, settings(name, **changes), 2, seed)


def test_every_method_that_follows_is_there() -> None:
    assert {"nothing", *POSTHOC} == set(get_args(PostHoc))


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("name", POSTHOC)
def test_what_is_to_train_trains_and_the_model_stays(name: str, kind: str) -> None:
    model = MODELS[kind]()
    before = weights(model)
    after = unlearn(name, model)
    assert same(weights(model), before)
    moved = {part for part, value in after.named_parameters() if not value.equal(before[part])}
    wrote = {id(after.down_proj(layer)) for layer in range(2)}
    assert moved == {
        part for part, value in after.named_parameters() if name != "rmu" or id(value) in wrote
    }
    assert all(value.requires_grad and value.grad is None for value in after.parameters())


@pytest.mark.parametrize("name", POSTHOC)
def test_the_same_seed_gives_the_same_bits(name: str) -> None:
    one, two, other = (weights(unlearn(name, random_gpt(SMALL), seed)) for seed in (5, 5, 6))
    assert same(one, two)
    assert not same(one, other)


@pytest.mark.parametrize("name", POSTHOC)
def test_no_steps_change_nothing(name: str) -> None:
    model = random_gpt(SMALL)
    assert same(weights(unlearn(name, model, steps=0)), weights(model))


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("name", WITH_LOSSES)
def test_stories_to_forget_get_less_likely_and_others_do_not(name: str, kind: str) -> None:
    model = MODELS[kind]()
    forgot, kept = (loss_of(rows) for rows in (FORGET, OTHERS))
    after = unlearn(name, model, steps=20)
    assert forgot(after)["loss"] > forgot(model)["loss"]
    held = unlearn(name, model, steps=20, retain_weight=100.0)
    assert kept(held)["loss"] < kept(model)["loss"]


@pytest.mark.parametrize("name", POSTHOC)
def test_stories_of_one_kind_alone_are_refused(name: str) -> None:
    nothing = FORGET.take(torch.zeros(3, dtype=torch.bool))
    for pair, message in (
        ((nothing, OTHERS), "0 stories to forget and 3 others"),
        ((FORGET, nothing), "3 stories to forget and 0 others"),
    ):
        with pytest.raises(ValueError, match=message):
            POSTHOC[name](random_gpt(SMALL), *pair, settings(name), 2, 0)


@pytest.mark.parametrize("name", POSTHOC)
def test_divergence_says_to_lower_the_learning_rate(name: str) -> None:
    with pytest.raises(ValueError, match=r"the loss is not finite .* lower the learning rate"):
        unlearn(name, random_gpt(SMALL), learning_rate=1e30)


def test_a_last_step_that_breaks_a_weight_is_noticed() -> None:
    model = random_gpt(SMALL)

    def steep(forget: Batch, others: Batch) -> Tensor:
        return (model.down_proj(0) * 0).sqrt().sum()  # 0, with a slope of infinity times 0

    with pytest.raises(ValueError, match=r"a weight is not finite after 1 steps .* lower"):
        descend(model, steep, batches_of(FORGET, OTHERS, 2, 0), settings("npo", steps=1))


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
def test_numbers_out_of_range_are_refused(name: str, changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="all must be positive"):
        settings(name, **changes)
