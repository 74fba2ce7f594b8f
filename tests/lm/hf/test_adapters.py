"""A pair of adapters: inert at first, taught by their own tokens, merged into a plain model."""

import copy

import pytest
import torch
from torch import Tensor, nn

from lm.hf.adapters import Adapted
from lm.hf.contraction import contract
from lm.hf.model import RoutedCausalLM
from lm.training.batches import Batch
from lm.training.loop import LoopConfig, make_optimizer, update
from lm.training.routes import MODULES, PARAMETERS, UNROUTED
from oversight.routing import RouteTable, routing
from tests.lm.hf.small import FAMILIES, plain_model, tokens

KEPT, ABLATABLE = "original_parameters", "expansion_parameters"


def lively(family: str, dtype: torch.dtype = torch.float32) -> RoutedCausalLM:
    """Return a model whose adapters write something already."""
    model, generator = RoutedCausalLM(plain_model(family, dtype), rank=2), torch.Generator()
    with torch.no_grad():
        for some in model.parameter_targets().values():
            for parameter in some:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


@torch.no_grad()
def logits(model: nn.Module) -> Tensor:
    """Return the logits of a routed or a plain model."""
    found = model(tokens()[0])
    every: Tensor = found if isinstance(found, Tensor) else found.logits
    return every


@FAMILIES
def test_adapters_write_nothing_at_first_and_are_all_that_trains(family: str) -> None:
    plain = plain_model(family)
    expected = logits(plain)
    model = RoutedCausalLM(plain, rank=2)
    assert torch.equal(logits(model), expected)
    trained = {id(p) for p in model.parameters() if p.requires_grad}
    targets = model.parameter_targets()
    assert set(targets) == {KEPT, ABLATABLE}
    assert {id(p) for some in targets.values() for p in some} == trained
    linear = sum(isinstance(module, Adapted) for module in model.modules())
    assert [len(some) for some in targets.values()] == [2 * linear] * 2


@FAMILIES
def test_the_gradients_are_those_of_low_rank_updates_of_the_matrices(family: str) -> None:
    model, (read, following) = lively(family, torch.float64), tokens()
    with routing(model, UNROUTED, torch.zeros_like(read)):
        model.loss(read, following).backward()  # type: ignore[no-untyped-call]
    full = RoutedCausalLM(contract(model))  # every matrix trains here, at the same function
    with routing(full, UNROUTED, torch.zeros_like(read)):
        full.loss(read, following).backward()  # type: ignore[no-untyped-call]
    grads = {
        name.replace(".plain", ""): parameter.grad for name, parameter in full.named_parameters()
    }
    found = 0
    for name, module in model.named_modules():
        if isinstance(module, Adapted):
            of_matrix = grads[f"{name.replace('.plain', '')}.weight"]
            assert of_matrix is not None
            for one in (module.kept, module.ablatable):
                expected = of_matrix @ one.reading.weight.T, one.writing.weight.T @ of_matrix
                torch.testing.assert_close(one.writing.weight.grad, expected[0])
                torch.testing.assert_close(one.reading.weight.grad, expected[1])
            found += 1
    assert found


@FAMILIES
def test_a_plain_model_has_both_adapters_or_the_one_to_keep(family: str) -> None:
    model = lively(family, torch.float64)
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
def test_each_label_teaches_its_own_adapter(
    table: RouteTable, route: int, taught: set[str]
) -> None:
    model, (read, following) = lively("llama"), tokens()
    before = {target: [p.clone() for p in some] for target, some in targets_of(model)}
    optimizer = make_optimizer(model, LoopConfig())
    update(model, table, Batch(read, following, torch.full_like(read, route)), optimizer, 0.1, 1.0)
    moved = {
        target
        for target, some in targets_of(model)
        if not all(map(torch.equal, some, before[target]))
    }
    assert moved == taught


def test_a_token_to_retain_does_not_see_the_other_adapter() -> None:
    model, (read, _) = lively("qwen2", torch.float64), tokens()
    with routing(model, MODULES, torch.zeros_like(read)):
        seen = model(read).detach()
    torch.testing.assert_close(seen, logits(model.ablated()))


def test_ranks_and_units_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="rank -1 were asked for: give a rank of 1 or more"):
        RoutedCausalLM(plain_model("llama"), rank=-1)
    with pytest.raises(ValueError, match="3 added hidden units were asked for: choose one"):
        RoutedCausalLM(plain_model("llama"), 3, [0], rank=2)


def targets_of(model: RoutedCausalLM) -> list[tuple[str, list[nn.Parameter]]]:
    """Return targets and parameters."""
    return list(model.parameter_targets().items())
