"""Pairs of adapters start at zero, train on their tokens, and merge into a plain model."""

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lm.models.hf import RoutedCausalLM, contract
from lm.models.hf_architecture import is_transposed
from lm.models.hf_layers import Adapted, Adapter, innermost
from lm.models.shapes import AdapterConfig
from lm.training.batches import Batch
from lm.training.loop import LoopConfig, make_optimizer, update
from lm.training.route_tables import MODULES, PARAMETERS, UNROUTED
from oversight.routing import RouteTable, routing
from tests.lm.models.hf_factories import (
    FAMILIES,
    adapted_model,
    expanded_model,
    plain_model,
    plain_name,
    tokens,
)

BLOCKS = re.compile(r"\.(layers|h|cells)\.")
KEPT, ABLATABLE = "original_parameters", "expansion_parameters"


@torch.no_grad()
def logits(model: nn.Module) -> Tensor:
    """Return the logits of a routed or plain model."""
    found = model(tokens()[0])
    every: Tensor = found if isinstance(found, Tensor) else found.logits
    return every


@FAMILIES
def test_outputs_stay_equal_and_blocks_are_frozen_when_adapters_are_added(family: str) -> None:
    plain = plain_model(family)
    expected = logits(plain)
    names = [name for name, _ in plain.named_parameters()]
    inside = {name for name in names if BLOCKS.search(name)}
    model = RoutedCausalLM(plain, adapters=AdapterConfig(rank=2))
    assert torch.equal(logits(model), expected)
    frozen = {plain_name(name) for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == inside
    targets = model.parameter_targets()
    pairs = 2 * sum(isinstance(module, Adapted) for module in model.modules())
    counts = {target: len(some) for target, some in targets.items()}
    assert counts == {KEPT: pairs + len(names) - len(inside), ABLATABLE: pairs}
    trained = {id(p) for p in model.parameters() if p.requires_grad}
    assert {id(p) for some in targets.values() for p in some} == trained


@FAMILIES
def test_adapter_gradients_equal_those_of_low_rank_updates(family: str) -> None:
    model, (read, targets) = adapted_model(family, torch.float64), tokens()
    with routing(model, UNROUTED, torch.zeros_like(read)):
        model.loss(read, targets).backward()  # type: ignore[no-untyped-call]
    full = RoutedCausalLM(contract(model))  # every matrix trains here, at the same function
    with routing(full, UNROUTED, torch.zeros_like(read)):
        full.loss(read, targets).backward()  # type: ignore[no-untyped-call]
    grads = {
        name.replace(".plain", ""): parameter.grad for name, parameter in full.named_parameters()
    }
    found = 0
    for name, module in model.named_modules():
        if isinstance(module, Adapted):
            of_matrix = grads[f"{name.replace('.plain', '')}.weight"]
            assert of_matrix is not None
            if is_transposed(module.plain):
                of_matrix = of_matrix.T
            ablatable = innermost(module.added["expansion"])
            assert isinstance(ablatable, Adapter)
            for one in (module.kept, ablatable):
                expected = of_matrix @ one.lora_a.weight.T, one.lora_b.weight.T @ of_matrix
                torch.testing.assert_close(one.lora_b.weight.grad, 1.5 * expected[0])
                torch.testing.assert_close(one.lora_a.weight.grad, 1.5 * expected[1])
            found += 1
    assert found


@FAMILIES
def test_contracted_model_contains_both_adapters_or_only_the_kept_one(family: str) -> None:
    model = adapted_model(family, torch.float64)
    torch.testing.assert_close(logits(contract(model)), logits(model))
    silent = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in silent.parameter_targets()[ABLATABLE]:
            parameter.zero_()
    cut = model.ablated()
    torch.testing.assert_close(logits(cut), logits(silent))
    assert not torch.allclose(logits(cut), logits(model))
    assert not cut.expanded
    assert all(parameter.requires_grad for parameter in cut.parameters())


@FAMILIES
@pytest.mark.parametrize("made", [expanded_model, adapted_model])
def test_profile_equals_a_model_whose_other_modules_write_nothing(
    family: str, made: Callable[..., RoutedCausalLM]
) -> None:
    model = made(family, torch.float64, ("forest", "ocean"))
    silent = copy.deepcopy(model)
    scaled = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in silent.parameter_targets()["forest_parameters"]:
            parameter.zero_()
        for name, parameter in scaled.named_parameters():
            if ".forest." in name:
                parameter.zero_()
            inside = name.partition(".ocean.")[2].removeprefix("plain.")
            if inside.startswith(scaled.architecture.down_proj) or ".lora_b." in f".{inside}":
                parameter.mul_(0.5)
    assert model.module_names == ("forest", "ocean")
    torch.testing.assert_close(logits(model.profile("ocean")), logits(silent))
    torch.testing.assert_close(logits(contract(model)), logits(model))
    half = model.profile("ocean", weights={"ocean": 0.5})
    torch.testing.assert_close(logits(half), logits(scaled))
    assert half.module_names == ()
    assert not torch.allclose(logits(model.profile()), logits(silent))


@pytest.mark.parametrize(
    ("table", "route", "taught"),
    [
        (MODULES, 0, {KEPT}),
        (MODULES, 1, {ABLATABLE}),
        (MODULES, 2, {ABLATABLE}),
        (PARAMETERS, 1, {KEPT, ABLATABLE}),
        (PARAMETERS, 2, {ABLATABLE}),
    ],
)
def test_each_label_trains_only_its_adapter(
    table: RouteTable, route: int, taught: set[str]
) -> None:
    model, (read, targets) = adapted_model("llama"), tokens()
    before = {target: [p.clone() for p in some] for target, some in targets_of(model)}
    optimizer = make_optimizer(model, LoopConfig())
    update(model, table, Batch(read, targets, torch.full_like(read, route)), optimizer, 0.1, 1.0)
    moved = {
        target
        for target, some in targets_of(model)
        if not all(map(torch.equal, some, before[target]))
    }
    assert moved == taught


def test_ablatable_adapter_is_masked_when_a_token_is_labeled_retain() -> None:
    model, (read, _) = adapted_model("qwen2", torch.float64), tokens()
    with routing(model, MODULES, torch.zeros_like(read)):
        seen = model(read).detach()
    torch.testing.assert_close(seen, logits(model.ablated()))


@pytest.mark.parametrize("given", [{"rank": 0}, {"alpha": 0.0}])
def test_adapter_config_refuses_invalid_ranks_and_scales(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"(rank 0|alpha 0\.0) was given: give"):
        AdapterConfig(**given)


def test_adapters_with_added_units_are_refused() -> None:
    with pytest.raises(ValueError, match="3 added hidden units were asked for: choose one"):
        RoutedCausalLM(plain_model("llama"), 3, [0], adapters=AdapterConfig())


def targets_of(model: RoutedCausalLM) -> list[tuple[str, list[nn.Parameter]]]:
    """Return each target with its parameters."""
    return list(model.parameter_targets().items())
