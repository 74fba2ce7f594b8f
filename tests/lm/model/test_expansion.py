"""Expanding changes nothing, and ablating takes away what was added and no more."""

import pytest
import torch

from lm.models.gpt import GPT, Block, ablate_random
from lm.models.layers import GPTConfig
from tests.lm.factories import expanded_copy
from tests.lm.small import EXPANDED, SMALL, lively, tokens

CONFIG = GPTConfig(vocab_size=13, width=8, num_layers=4, num_heads=2, context=6)


def logits(model: GPT) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(tokens()[0])
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_expanding_and_ablating_untrained_units_leaves_every_bit(dtype: torch.dtype) -> None:
    model = lively(CONFIG, dtype)
    expanded = expanded_copy(model, 5, [0, 2])
    back = expanded.ablated()
    assert torch.equal(logits(expanded), logits(model))
    assert torch.equal(logits(back), logits(model))
    assert back.config == model.config
    assert back.embedding.dtype == dtype
    assert back.embedding.data_ptr() != model.embedding.data_ptr()


def test_only_the_chosen_layers_get_units_that_can_learn() -> None:
    expanded = expanded_copy(lively(CONFIG), 5, [0, 2])
    blocks = [block for block in expanded.blocks if isinstance(block, Block)]
    added = [block.mlp.expansion for block in blocks]
    assert [units is not None for units in added] == [True, False, True, False]
    assert added[0] is not None
    assert added[0].up.weight.shape == (5, 8)
    assert added[0].up.weight.std() > 0.01
    assert [block.mlp.original.gate.targets for block in blocks] == [
        ("original",),
        ("hidden",),
        ("original",),
        ("hidden",),
    ]


def test_ablating_removes_what_the_expansion_writes_and_nothing_else() -> None:
    trained = lively(EXPANDED)
    left = trained.ablated()
    assert not torch.equal(logits(left), logits(trained))
    with torch.no_grad():
        for parameter in trained.parameter_targets()["expansion_parameters"]:
            parameter.zero_()
    assert torch.equal(logits(left), logits(trained))


def test_every_parameter_belongs_to_one_target() -> None:
    model = lively(EXPANDED)
    parts = [parameter for part in model.parameter_targets().values() for parameter in part]
    assert len(parts) == len(set(parts))
    assert set(parts) == set(model.parameters())
    assert list(lively().parameter_targets()) == ["original_parameters"]


def test_a_random_region_is_silent_and_the_rest_as_before() -> None:
    model = lively(EXPANDED)
    left = ablate_random(model, 4, [1], seed=3)
    before, after = model.state_dict(), left.state_dict()
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert changed == ["blocks.1.mlp.original.down.weight"]
    gone = (after[changed[0]] == 0).all(0)
    assert int(gone.sum()) == 4
    assert torch.equal(after[changed[0]][:, ~gone], before[changed[0]][:, ~gone])
    assert torch.equal(after[changed[0]], ablate_random(model, 4, [1], 3).state_dict()[changed[0]])


def test_what_cannot_be_expanded_or_ablated_is_refused() -> None:
    model = lively(SMALL)
    with pytest.raises(ValueError, match="no expansion to ablate"):
        model.ablated()
    with pytest.raises(ValueError, match="the layers are 0 to 1"):
        expanded_copy(model, 1, [2])
    with pytest.raises(ValueError, match="32 units in each of the layers 0 to 1"):
        ablate_random(model, 33, [0])
