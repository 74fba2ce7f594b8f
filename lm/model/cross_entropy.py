"""The cross-entropy of each token, in pieces where the logits would not fit.

Shape suffixes: b batch, t tokens, d width, v vocabulary.
"""

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from oversight.routing import gate_linear

IGNORED = -100
"""A target of this value has no loss, as in PyTorch's cross-entropy."""

CHUNK_LOGITS = 2**24
"""Logits that a batch may have; one of more is cut in pieces, and each computed twice."""

PIECES = 16
"""Pieces at most, since each adds to the gradient of the whole head."""


def output_logits(x_btd: Tensor, head_vd: Tensor, weight: Tensor | None) -> Tensor:
    """Return the logits of features, [B, T, V]; each token teaches the head by its weight."""
    if weight is None:
        return F.linear(x_btd, head_vd)
    return gate_linear(x_btd, head_vd, weight)


def cross_entropy(x_btd: Tensor, head_vd: Tensor, weight: Tensor | None, next_bt: Tensor) -> Tensor:
    """Return the cross-entropy of each next token, [B, T]; 0 where it is `IGNORED`.

    Args:
        x_btd: what the output head reads.
        head_vd: the matrix of the head.
        weight: by which each token teaches the head, as in `gate_linear`; none if all do.
        next_bt: the tokens to predict.
    """
    batch, length = next_bt.shape
    size = piece_length(batch, length, head_vd.shape[0])
    if size >= length:
        return _losses(x_btd, head_vd, weight, next_bt)
    cuts = [slice(start, start + size) for start in range(0, length, size)]
    by_token = weight is not None and weight.shape[1] == length
    pieces = [
        checkpoint(
            _losses,
            x_btd[:, cut],
            head_vd,
            weight[:, cut] if by_token and weight is not None else weight,
            next_bt[:, cut],
            use_reentrant=False,
            preserve_rng_state=False,
        )
        for cut in cuts
    ]
    return torch.cat(pieces, dim=1)


def piece_length(batch: int, length: int, vocab_size: int) -> int:
    """Return how many tokens of each row make a piece.

    >>> piece_length(8, 1024, 50257), piece_length(1, 1024, 151936)
    (64, 110)
    """
    return max(CHUNK_LOGITS // (batch * vocab_size), -(-length // PIECES), 1)


def _losses(x_btd: Tensor, head_vd: Tensor, weight: Tensor | None, next_bt: Tensor) -> Tensor:
    logits_btv = output_logits(x_btd, head_vd, weight)
    losses = F.cross_entropy(
        logits_btv.flatten(0, 1), next_bt.flatten(), reduction="none", ignore_index=IGNORED
    )
    return losses.view(next_bt.shape)
