"""Expanding changes nothing, and what comes back is a plain model that anyone can load."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lm.models.hf import RoutedCausalLM, contract
from lm.models.hf_layers import drawn_units
from lm.training.loop import LoopConfig, make_optimizer, update
from lm.training.route_tables import ERA
from tests.lm.hf.small import (
    CONFIGS,
    FAMILIES,
    expanded_model,
    plain_model,
    plain_name,
    tokens,
    transformers,
)
from tests.lm.training.test_loop import rows

HIDDEN = {"gpt_neo": 32, "llama": 12, "qwen2": 12}


@torch.no_grad()
def logits(model: nn.Module) -> Tensor:
    """Return the logits of a routed or a plain model."""
    found = model(tokens()[0])
    every: Tensor = found if isinstance(model, RoutedCausalLM) else found.logits
    return every


def weight_of(mlp: nn.Module, name: str) -> Tensor:
    linear = mlp.get_submodule(name)
    assert isinstance(linear, nn.Linear)
    return linear.weight


@FAMILIES
def test_expanding_changes_no_bit_and_no_random_number(family: str) -> None:
    plain, before = plain_model(family), torch.get_rng_state()
    expected = logits(plain)
    model = RoutedCausalLM(plain, 5, [0, 1])
    assert torch.equal(logits(model), expected)
    assert torch.equal(torch.get_rng_state(), before)
    added = model.parameter_targets()["expansion_parameters"]
    assert {tuple(p.shape) for p in added if p.ndim == 2} == {(5, 8), (8, 5)}
    # what reads is drawn; what writes, and biases, are zero at first
    assert all(p.any() for p in added if p.shape == (5, 8))
    assert not any(p.any() for p in added if p.shape != (5, 8))


def test_added_units_read_at_the_scale_of_the_old_ones_and_by_the_seed() -> None:
    model, family = plain_model("llama"), RoutedCausalLM(plain_model("llama")).family
    mlp = family.blocks(model)[0].get_submodule("mlp")
    first, again, other = (
        drawn_units(mlp, family, 4000, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    for name in family.up_projs:
        weight = weight_of(first, name)
        assert torch.equal(weight, weight_of(again, name))
        assert not torch.equal(weight, weight_of(other, name))
        torch.testing.assert_close(weight.std(), weight_of(mlp, name).std(), rtol=0.02, atol=0)


@FAMILIES
def test_merged_units_compute_the_same_in_a_plain_model_loaded_without_our_code(
    family: str, tmp_path: Path
) -> None:
    model = expanded_model(family)
    merged = contract(model)
    merged.save_pretrained(tmp_path)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(loaded) is type(merged) is type(plain_model(family))
    assert loaded.config.intermediate_size == HIDDEN[family] + 3
    torch.testing.assert_close(logits(merged), logits(model), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logits(loaded), logits(merged), atol=1e-6, rtol=1e-6)
    exact = expanded_model(family, torch.float64)
    torch.testing.assert_close(logits(contract(exact)), logits(exact), atol=1e-6, rtol=1e-6)


@FAMILIES
def test_expanding_and_contracting_untrained_units_leaves_the_logits(
    family: str, tmp_path: Path
) -> None:
    plain = plain_model(family)
    expected, names = logits(plain), list(plain.state_dict())
    expanded = RoutedCausalLM(plain, 3, [0])
    for ablated in (True, False):
        back = contract(expanded, ablated=ablated)
        back.save_pretrained(tmp_path / str(ablated))
        loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / str(ablated))
        assert list(back.state_dict()) == names
        torch.testing.assert_close(logits(loaded), expected, atol=1e-6, rtol=1e-6)
    assert torch.equal(logits(contract(expanded, ablated=True)), expected)


@FAMILIES
def test_ablating_removes_the_expansion_and_nothing_else(family: str) -> None:
    model = expanded_model(family)
    optimizer = make_optimizer(model, LoopConfig())
    update(model, ERA, rows()(0), optimizer, 1e-2, 1.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    left = contract(model, ablated=True)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    kept = {plain_name(name): value for name, value in before.items() if "expansion" not in name}
    assert kept.keys() == left.state_dict().keys()
    assert all(torch.equal(kept[name], value) for name, value in left.state_dict().items())
    assert left.config.to_dict() == plain_model(family).config.to_dict()
    assert not torch.equal(logits(left), logits(model))
    with torch.no_grad():
        for parameter in model.parameter_targets()["expansion_parameters"]:
            parameter.zero_()
    assert torch.equal(logits(left), logits(model))


def test_a_model_without_an_expansion_comes_back_as_it_was() -> None:
    for family in CONFIGS:
        plain = plain_model(family)
        back = contract(RoutedCausalLM(plain_model(family)))
        assert torch.equal(logits(back), logits(plain))
        assert back.config.to_dict() == plain.config.to_dict()
        assert str(back) == str(plain)


@pytest.mark.parametrize("layers", [[0], [0, 1]])
def test_a_contracted_model_can_be_expanded_again(layers: list[int]) -> None:
    merged = contract(expanded_model("gpt_neo"))
    expected = logits(merged)
    assert torch.equal(logits(RoutedCausalLM(merged, 2, layers)), expected)
