"""Log-likelihoods: in closed form, and as a slow reference says."""

from math import log

import pytest
import torch

from lm.benchmarks.scoring import Row, log_likelihoods
from lm.models.hf import RoutedCausalLM
from tests.lm.benchmarks.made import transformers
from tests.lm.small import SMALL, lively

ROWS = [
    Row((1, 2, 3), (4,)),
    Row((1, 2, 3), (5,)),
    Row((1, 2, 3), (3, 4)),  # the same, cut elsewhere
    Row((6,), (7,)),
    Row((6, 7, 8, 9, 10, 11), (7, 8, 9, 10, 11, 12)),
    Row((1, 2, 3), (4,)),
]


@torch.no_grad()
@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_as_a_slow_reference_says(batch_size: int) -> None:
    model = lively(SMALL, torch.float64)
    found = log_likelihoods(model, ROWS, batch_size)
    for row, likelihood in zip(ROWS, found, strict=True):
        expected, start = 0.0, len(row.read) - len(row.targets)
        for step, token in enumerate(row.targets):
            logits = model(torch.tensor([row.read[: start + step + 1]]))[0, -1]
            expected += float(torch.log_softmax(logits, 0)[token])
        assert likelihood == pytest.approx(expected, rel=1e-12)


def test_equal_rows_are_read_once() -> None:
    model = lively(SMALL)
    read: list[int] = []
    model.layers()[0].register_forward_hook(lambda _, args, __: read.append(len(args[0])))
    log_likelihoods(model, ROWS, 100)
    assert read == [3]


def test_no_row_is_no_likelihood() -> None:
    assert log_likelihoods(lively(SMALL), [], 4) == []


def test_of_a_model_whose_next_token_depends_on_the_last_alone() -> None:
    """Embeddings are unit vectors and blocks write nothing, so the head holds log P(next|last)."""
    size = 8
    config = transformers.LlamaConfig(
        vocab_size=size,
        hidden_size=size,
        intermediate_size=4,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=6,
        rms_norm_eps=1e-30,
        tie_word_embeddings=False,
    )
    plain = transformers.LlamaForCausalLM(config).to(torch.float64)
    shares = torch.rand((size, size), generator=torch.Generator().manual_seed(0)).double() + 0.1
    shares /= shares.sum(0)  # [next, last]
    with torch.no_grad():
        for parameter in plain.model.layers.parameters():
            parameter.zero_()
        plain.model.embed_tokens.weight.copy_(torch.eye(size))
        plain.lm_head.weight.copy_(shares.log() / size**0.5)  # the norm makes them that long
    rows = [Row((1, 2, 3), (4,)), Row((5, 6), (6, 7)), Row((0,), (0,))]
    found = log_likelihoods(RoutedCausalLM(plain), rows, 2)
    pairs = [[(4, 3)], [(6, 5), (7, 6)], [(0, 0)]]
    expected = [sum(log(float(shares[pair])) for pair in several) for several in pairs]
    assert found == pytest.approx(expected, rel=1e-7)  # its norm is in float32
