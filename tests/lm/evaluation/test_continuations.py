"""Continuations: read once each, and as likely as one by one."""

import pytest
import torch

from lm.evaluation.likelihoods import lay_out, log_likelihoods
from tests.lm.small import SMALL, lively

TEXTS = [[1, 2], [3], [1, 2], [4, 5, 6]]
MORE = [
    [[7], [8, 9], [8, 9, 10]],
    [[8], [8, 1], [2]],
    [[7], [8, 9], [3]],
    [[6], [6, 6], [6, 6, 6]],
]


def test_no_beginning_is_read_twice() -> None:
    laid = lay_out(TEXTS, MORE)
    rows = zip(laid.prefixes.tolist(), laid.lengths.tolist(), strict=True)
    found = [tuple(row[:length]) for row, length in rows]
    assert len(set(found)) == len(found)
    assert set(found) == {
        *[(1, 2), (1, 2, 8), (1, 2, 8, 9)],
        *[(3,), (3, 8)],
        *[(4, 5, 6), (4, 5, 6, 6), (4, 5, 6, 6, 6)],
    }
    assert laid.prefixes.shape == (8, 5)


@torch.no_grad()
@pytest.mark.parametrize("batch_size", [1, 3, 256])
@pytest.mark.parametrize("biased", [False, True])
def test_as_a_slow_reference_says(batch_size: int, biased: bool) -> None:
    model = lively(SMALL, torch.float64)
    bias = torch.linspace(-1, 3, SMALL.vocab_size, dtype=torch.float64) if biased else None
    found = log_likelihoods(model, lay_out(TEXTS, MORE), bias, batch_size)
    for row, (text, several) in enumerate(zip(TEXTS, MORE, strict=True)):
        for column, tokens in enumerate(several):
            expected = 0.0
            for end, token in enumerate(tokens):
                logits = model(torch.tensor([[*text, *tokens[:end]]]))[0, -1]
                shares = torch.softmax(logits if bias is None else logits + bias, 0)
                expected += float(shares[token].log())
            assert float(found[row, column]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("texts", "more"),
    [
        ([], []),
        ([[1]], [[]]),
        ([[]], [[[1]]]),
        ([[1]], [[[1], []]]),
        ([[1], [2]], [[[1]]]),
        ([[1], [2]], [[[1]], [[1], [2]]]),
    ],
)
def test_what_cannot_be_laid_out_is_refused(
    texts: list[list[int]], more: list[list[list[int]]]
) -> None:
    with pytest.raises(ValueError, match="give one or more texts"):
        lay_out(texts, more)
