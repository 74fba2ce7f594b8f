"""Rounding of weights: the nearest level, by a scale for each output, in a copy."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lm.attacks.lora import linear_maps
from lm.attacks.suite import quantize, quantized
from lm.models.hf import RoutedCausalLM
from tests.lm.attack.rows import same, weights
from tests.lm.hf.small import plain_model
from tests.lm.small import EXPANDED, lively


def test_levels_are_integers_times_the_scale_of_the_output() -> None:
    weight = torch.tensor([[3.0, 1.4, -0.6, 0.4], [0.3, -0.16, 0.06, 0.0]])
    expected = torch.tensor([[3.0, 1.0, -1.0, 0.0], [0.3, -0.2, 0.1, 0.0]])
    assert torch.allclose(quantize(weight, bits=3), expected)


@given(
    rows=st.lists(
        st.lists(st.floats(-1e3, 1e3, width=32), min_size=4, max_size=4), min_size=1, max_size=4
    ),
    bits=st.integers(2, 12),
)
def test_no_weight_moves_more_than_half_a_scale_and_twice_is_once(
    rows: list[list[float]], bits: int
) -> None:
    weight = torch.tensor(rows, dtype=torch.float64)
    found = quantize(weight, bits)
    largest = weight.abs().amax(1, keepdim=True)
    scale = largest / (2 ** (bits - 1) - 1)
    assert bool(((found - weight).abs() <= scale / 2 * (1 + 1e-9)).all())
    assert torch.allclose(quantize(found, bits), found, rtol=1e-12, atol=0)
    levels = torch.where(scale > 0, found / scale, 0)
    assert torch.allclose(levels, levels.round(), atol=1e-6)
    assert torch.allclose(found.abs().amax(1, keepdim=True), largest, rtol=1e-12)


def test_a_copy_is_rounded_in_the_blocks_alone() -> None:
    for model in (lively(EXPANDED), RoutedCausalLM(plain_model("llama"))):
        before = weights(model)
        rounded = quantized(model, 4)
        assert same(weights(model), before)
        after = weights(rounded)
        changed = {name for name in after if not torch.equal(after[name], before[name])}
        maps = {id(module.weight) for module in linear_maps(rounded)}
        assert changed == {n for n, p in rounded.named_parameters() if id(p) in maps}
        for mine, theirs in zip(linear_maps(model), linear_maps(rounded), strict=True):
            assert isinstance(mine.weight, torch.Tensor)
            assert isinstance(theirs.weight, torch.Tensor)
            assert torch.equal(theirs.weight, quantize(mine.weight, 4))


def test_bits_must_be_from_2_to_16() -> None:
    for bits in (1, 17):
        with pytest.raises(ValueError, match="give 2 to 16"):
            quantize(torch.ones(1, 1), bits)
