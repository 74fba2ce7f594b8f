"""What every language model gives to those who look into it, a GPT and each family."""

import pytest
import torch

from lm.models.hf import RoutedCausalLM
from lm.models.language_model import LanguageModel
from tests.lm.hf import small
from tests.lm.small import SMALL, lively, tokens


def models() -> list[LanguageModel]:
    """Return a small GPT, and a tiny model of each family."""
    return [lively(SMALL), *(RoutedCausalLM(small.plain_model(name)) for name in small.CONFIGS)]


@pytest.mark.parametrize("model", models(), ids=["gpt", *small.CONFIGS])
def test_the_residual_stream_of_the_last_layer_is_what_the_head_reads(model: LanguageModel) -> None:
    read, last = tokens()[0], len(model.layers()) - 1
    with torch.no_grad():
        left = model.residual(read, last)
        assert torch.equal(model.normed(left), model.features(read))
        assert torch.equal(model.logits(model.normed(left)), model(read))
        assert not torch.equal(model.residual(read, 0), left)
        assert model(read).shape == (*read.shape, model.vocab_size)
    assert left.shape == (*read.shape, model.width)
    assert not any(layer._forward_hooks for layer in model.layers())


@pytest.mark.parametrize("model", models(), ids=["gpt", *small.CONFIGS])
def test_a_layer_writes_by_its_own_matrix(model: LanguageModel) -> None:
    read = tokens()[0]
    with torch.no_grad():
        before = [model.residual(read, layer) for layer in (0, 1)]
        model.down_proj(1).mul_(2)
        after = [model.residual(read, layer) for layer in (0, 1)]
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])
    assert model.down_proj(1).shape[0] == model.width


@pytest.mark.parametrize("model", models(), ids=["gpt", *small.CONFIGS])
def test_a_copy_has_weights_of_its_own_and_nothing_frozen(model: LanguageModel) -> None:
    read = tokens()[0]
    with torch.no_grad():
        before = model(read)
    copied = model.requires_grad_(False).copied()
    assert all(parameter.requires_grad for parameter in copied.parameters())
    with torch.no_grad():
        assert torch.equal(copied(read), before)
        for parameter in copied.parameters():
            parameter.zero_()
        assert torch.equal(model(read), before)


def test_a_layer_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="layer 2 was asked for: give one from 0 to 1"):
        lively(SMALL).residual(tokens()[0], 2)
