"""Losses in pieces are those of all logits at once, in a small part of the memory."""

import pytest
import torch
from torch import Tensor

from lm.models import language_model
from tests.benchmarks.cross_entropy import losses
from tests.lm.live import LiveBytes

BYTES = 4


def work(way: str, tokens: int, vocab_size: int, width: int) -> tuple[int, list[Tensor]]:
    """Return the most bytes held in a forward and a backward pass, and both gradients."""
    generator = torch.Generator().manual_seed(0)
    x_btd = torch.randn(4, tokens // 4, width, generator=generator).requires_grad_()
    head_vd = torch.randn(vocab_size, width, generator=generator).requires_grad_()
    next_bt = torch.randint(vocab_size, (4, tokens // 4), generator=generator)
    with LiveBytes() as live:
        losses(way, x_btd, head_vd, next_bt).mean().backward()  # type: ignore[no-untyped-call]
    assert x_btd.grad is not None
    assert head_vd.grad is not None
    return live.peak, [x_btd.grad, head_vd.grad]


def require_a_quarter(tokens: int, vocab_size: int, width: int, piece: int) -> None:
    """Compare both ways where pieces have so many tokens; the peaks are known."""
    plain, grads = work("plain", tokens, vocab_size, width)
    pieces, same = work("pieces", tokens, vocab_size, width)
    # logits, their gradient, and the logarithms of the shares
    assert plain == pytest.approx(3 * BYTES * tokens * vocab_size, rel=0.02)
    head = BYTES * vocab_size * width
    assert pieces == pytest.approx(3 * BYTES * piece * vocab_size + head, rel=0.02)
    assert pieces <= plain / 4
    for one, other in zip(grads, same, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_pieces_hold_a_quarter_of_what_all_logits_do(monkeypatch: pytest.MonkeyPatch) -> None:
    # a hundredth of the vocabulary of Qwen 2.5, and of the logits of a piece
    monkeypatch.setattr(language_model, "CHUNK_LOGITS", language_model.CHUNK_LOGITS // 100)
    require_a_quarter(tokens=1024, vocab_size=1519, width=4, piece=108)


@pytest.mark.slow
def test_so_they_do_with_the_vocabulary_of_qwen() -> None:
    require_a_quarter(tokens=1024, vocab_size=151_936, width=64, piece=108)


def test_bytes_are_counted_while_tensors_live() -> None:
    with LiveBytes() as live:
        one = torch.ones(100)
        half = one[:50]
        two = one + one
        assert live.now == 800
        del one, two
        assert (live.now, live.peak) == (400, 800)
        del half
    assert (live.now, live.peak) == (0, 800)
