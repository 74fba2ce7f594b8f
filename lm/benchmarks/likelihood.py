"""Log-likelihoods of the ends of rows, in batches; rows that read the same are read once.

So all letters of a question are one row. `lm.evaluation.continuations` reads a row for each token
of a continuation, which is as good for the single words of its quizzes; answers here are
sentences, and all their tokens are predicted from one row.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lm.benchmarks.encoding import Row
from lm.evaluation.predictions import log_probabilities
from lm.model.cross_entropy import CHUNK_LOGITS
from lm.model.language_model import LanguageModel


@torch.no_grad()
def log_likelihoods(model: LanguageModel, rows: Sequence[Row], batch_size: int) -> list[float]:
    """Return the log-likelihood of the targets of each row, their log-probabilities' sum.

    Args:
        model: read where it is, without routes, and causal, as rows are filled up on the right.
        rows: from an `Encoder` for the model's context.
        batch_size: different rows that are read at a time, the longest first.
    """
    requests: dict[tuple[int, ...], list[int]] = {}
    for number, row in enumerate(rows):
        requests.setdefault(row.read, []).append(number)
    different = sorted(requests, key=lambda read: (-len(read), read))
    found = torch.zeros(len(rows), dtype=torch.float64)
    for start in range(0, len(different), batch_size):
        batch = different[start : start + batch_size]
        places = _places(batch, requests, rows)
        found.index_add_(0, places.requests, _read(model, batch, places))
    numbers: list[float] = found.tolist()
    return numbers


class _Places(NamedTuple):
    """k predictions, [k] int64 each: the batch's row, the position, the token, the request."""

    rows: Tensor
    positions: Tensor
    tokens: Tensor
    requests: Tensor


def _places(
    batch: Sequence[tuple[int, ...]],
    requests: dict[tuple[int, ...], list[int]],
    rows: Sequence[Row],
) -> _Places:
    table = [
        (place, len(read) - len(rows[number].targets) + step, token, number)
        for place, read in enumerate(batch)
        for number in requests[read]
        for step, token in enumerate(rows[number].targets)
    ]
    return _Places(*torch.tensor(table).unbind(1))


def _read(model: LanguageModel, batch: Sequence[tuple[int, ...]], places: _Places) -> Tensor:
    """Return the log-probability of each prediction, [k] float64 on the CPU."""
    longest = max(map(len, batch))
    tokens_bt = torch.tensor([read + (0,) * (longest - len(read)) for read in batch])
    x_btd = model.features(tokens_bt.to(model.device))
    different, which = torch.unique(
        torch.stack([places.rows, places.positions]), dim=1, return_inverse=True
    )
    found = torch.empty(len(which), dtype=torch.float64)
    piece = max(1, CHUNK_LOGITS // model.vocab_size)
    for start in range(0, different.shape[1], piece):
        row, position = different[:, start : start + piece].to(x_btd.device)
        table = log_probabilities(model, x_btd[row, position])
        here = (which >= start) & (which < start + piece)
        token = places.tokens[here].to(table.device)
        found[here] = table[(which[here] - start).to(table.device), token].double().cpu()
    return found
