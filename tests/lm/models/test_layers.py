"""Models whose modules are experts: what a token passes through, and what a profile averages."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lm.models.gpt import GPT
from lm.models.layers import ExpertMLP
from lm.models.shapes import CORE, GPTConfig
from lm.training.profiles import expert_table
from lm.training.route_tables import FORGET, RETAIN, UNLABELED
from oversight.routing import routing
from tests.lm.models.gpt_factories import EXPERTS, SMALL, random_gpt, tokens

TOPICS = EXPERTS.modules
TABLE = expert_table(TOPICS)
LABEL = {CORE: RETAIN, "forest": FORGET, "sea": FORGET + 1}


def logits(model: GPT) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(tokens()[0])
    return found


def with_only(model: GPT, expert: str) -> GPT:
    """Return a plain model with the shared parts of a model and the MLPs of one expert."""
    state = model.state_dict()
    found = {name: each for name, each in state.items() if ".added." not in name}
    if expert != CORE:
        for name in found:
            if ".mlp." in name:
                found[name] = state[name.replace("original", f"added.{expert}")]
    plain = GPT(SMALL).to(model.embedding)
    plain.load_state_dict(found)
    return plain


class Mean(torch.nn.Module):
    """The weighted mean of what some experts write, computed by hand."""

    def __init__(self, layer: ExpertMLP, weights: dict[str, float]) -> None:
        super().__init__()
        self.experts = dict(zip((CORE, *TOPICS), layer.experts(), strict=True))
        self.weights = weights

    def forward(self, x_btd: Tensor) -> Tensor:
        """Map [B, T, D] to itself."""
        parts = [weight * self.experts[name](x_btd) for name, weight in self.weights.items()]
        return torch.stack(parts).sum(0) / sum(self.weights.values())


def mean_of(model: GPT, weights: dict[str, float]) -> GPT:
    """Return a copy whose layers write the weighted mean of some experts."""
    made = model.copied()
    for block, layer in zip(made.layers(), expert_layers(made), strict=True):
        block.mlp = Mean(layer, weights)  # type: ignore[assignment]
    return made


def expert_layers(model: GPT) -> list[ExpertMLP]:
    return [block.mlp for block in model.layers() if isinstance(block.mlp, ExpertMLP)]


@pytest.mark.parametrize("expert", LABEL)
def test_labeled_text_passes_through_one_expert_as_through_a_plain_model(expert: str) -> None:
    model = random_gpt(EXPERTS)
    plain = with_only(model, expert)
    inputs, targets = tokens()
    with routing(model, TABLE, torch.full_like(inputs, LABEL[expert])):
        losses = model.token_losses(inputs, targets)
    with torch.no_grad():
        assert torch.equal(losses, plain.token_losses(inputs, targets))


def test_unlabeled_text_passes_through_the_mean_of_all_experts() -> None:
    model = random_gpt(EXPERTS, torch.float64)
    inputs, targets = tokens()
    expected = mean_of(model, dict.fromkeys((CORE, *TOPICS), 1.0))
    with routing(model, TABLE, torch.full_like(inputs, UNLABELED)):
        losses = model.token_losses(inputs, targets)
    with torch.no_grad():
        torch.testing.assert_close(losses, expected.token_losses(inputs, targets))
        torch.testing.assert_close(logits(model), logits(expected))


@pytest.mark.parametrize(
    "weights", [{"sea": 1.0}, {"forest": 1.0, "sea": 1.0}, {"forest": 0.25, "sea": 0.5}]
)
def test_profile_is_the_mean_of_the_experts_that_are_on(weights: dict[str, float]) -> None:
    model = random_gpt(EXPERTS, torch.float64)
    served = model.profile(*weights, weights=weights)
    torch.testing.assert_close(logits(served), logits(mean_of(model, {CORE: 1.0, **weights})))
    assert served.module_names == tuple(weights)
    off = set(TOPICS) - set(weights)
    assert not any(name in part for name in off for part in served.state_dict())


def test_profile_without_topics_is_the_plain_model_of_the_core() -> None:
    model = random_gpt(EXPERTS)
    core = model.profile()
    assert core.config == SMALL
    assert torch.equal(logits(core), logits(with_only(model, CORE)))
    assert torch.equal(logits(core), logits(model.profile("sea", weights={"sea": 0.0})))


def test_profile_of_a_profile_is_a_profile() -> None:
    model = random_gpt(EXPERTS)
    again = model.profile("forest", "sea", weights={"sea": 0.5}).profile("sea")
    assert torch.equal(logits(again), logits(model.profile("sea", weights={"sea": 0.5})))
    assert torch.equal(logits(again.profile()), logits(model.profile()))


def test_first_weights_are_those_of_a_plain_model_and_of_experts_that_differ() -> None:
    made, plain = GPT(EXPERTS, seed=3), GPT(SMALL, seed=3)
    assert all(
        torch.equal(each, made.state_dict()[name]) for name, each in plain.named_parameters()
    )
    for layer in expert_layers(made):
        core, forest, sea = (expert.down.weight for expert in layer.experts())
        assert not torch.equal(forest, sea)
        assert torch.allclose(forest.std(), core.std(), rtol=0.3)


@pytest.mark.parametrize(
    "changes",
    [
        {"expert_weights": (1.0,)},
        {"expert_weights": (1.0, 1.5)},
        {"added_embedding": True},
        {"expansion": 0, "expanded_layers": ()},
    ],
)
def test_weights_that_fit_no_experts_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"expert_weights \(.*give each of them a weight from 0"):
        replace(EXPERTS, **changes)  # type: ignore[arg-type]


def test_module_with_the_name_of_the_core_is_refused() -> None:
    with pytest.raises(ValueError, match="give each module a name of its own"):
        GPTConfig(expansion=4, expanded_layers=(0,), modules=(CORE,), expert_weights=(1.0,))
