"""Losses on stories: of all tokens, and of the values of facts.

What a model predicts next, with an output bias if one is given.

Log-likelihoods of continuations of texts, laid out so that no beginning is read twice.

A continuation of several tokens is as many predictions: of its first token after the text, of its
second after the text and the first, and so on. So all continuations of one token are read from
the last position of their text, and texts that are equal are one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lm.corpus import Kind
from lm.data.task import StoryRows
from lm.models.language_model import LanguageModel

CHUNK_LOGITS = 2**25
"""Logits that are held at a time."""


def log_probabilities(model: LanguageModel, features: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the log-probability of each next token, [..., v], in float32 or finer.

    Args:
        model: whose output head reads the features.
        features: [..., d], from `model.features`.
        bias: [v], added to the logits; none by default.
    """
    logits = model.logits(features)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return torch.log_softmax(logits if bias is None else logits + bias.to(logits), -1)


@torch.no_grad()
def token_losses(
    model: LanguageModel, rows: StoryRows, bias: Tensor | None = None, batch_size: int = 256
) -> Tensor:
    """Return the cross-entropy of each predicted token, [n, t] on the CPU, 0 after the story.

    Args:
        model: read where it is, without routes.
        rows: stories.
        bias: [v], added to the logits; none by default.
        batch_size: rows that are read at a time.
    """
    table = torch.zeros(rows.kinds.shape)
    for numbers in torch.split(torch.arange(len(rows)), batch_size):
        part = rows.take(numbers)
        real = part.kinds >= 0
        features, targets = real_features(model, part, real)
        pieces = zip(
            *(torch.split(whole, _piece(model)) for whole in (features, targets)), strict=True
        )
        losses = [
            -log_probabilities(model, piece, bias).gather(1, right[:, None])[:, 0].cpu()
            for piece, right in pieces
        ]
        table[numbers] = torch.zeros(real.shape).masked_scatter(real, torch.cat(losses).float())
    return table


@torch.no_grad()
def real_features(model: LanguageModel, rows: StoryRows, real: Tensor) -> tuple[Tensor, Tensor]:
    """Return the features that predict some tokens, [m, d], and these tokens, [m].

    Args:
        model: read where it is, without routes.
        rows: stories, read in one batch.
        real: which of their tokens, [n, t].
    """
    device = model.device
    end = int(real.any(0).nonzero().max()) + 1  # what fills up all rows is not read
    chosen = real[:, :end].to(device)
    features = model.features(rows.inputs[:, :end].to(device))
    return features[chosen], rows.targets[:, :end].to(device)[chosen]


def _piece(model: LanguageModel) -> int:
    """Return how many tokens' logits are held at a time."""
    return max(1, CHUNK_LOGITS // model.vocab_size)


class Losses(NamedTuple):
    """Mean losses of stories, in nats."""

    loss: float
    """of a token"""
    facts: float | None
    """of a stated value, the tokens of its word together; None where no story states any"""


def losses(
    model: LanguageModel, rows: StoryRows, bias: Tensor | None = None, batch_size: int = 256
) -> Losses:
    """Return a model's mean losses on stories.

    Args:
        model: read where it is, without routes.
        rows: stories.
        bias: [v], added to the logits, as `calibrate` returns it; none by default.
        batch_size: rows that are read at a time.

    Raises:
        ValueError: if there is no story.
    """
    if not len(rows):
        raise ValueError("no stories were given to read losses on: give one or more")
    value = rows.kinds == Kind.VALUE
    nats = token_losses(model, rows, bias, batch_size).double()
    begins = value.clone()
    begins[:, 1:] &= ~value[:, :-1]  # a word may be several tokens
    return Losses(
        loss=float(nats.sum() / (rows.kinds >= 0).sum()),
        facts=float(nats[value].sum() / begins.sum()) if value.any() else None,
    )


Text = Sequence[int]
"""Tokens in a row."""


@dataclass(frozen=True, eq=False)
class Continuations:
    """n texts with c continuations each, as k predictions from r different beginnings."""

    beginnings: Tensor
    """[r, t] int64: tokens, filled up with 0"""
    lengths: Tensor
    """[r] int64: how many there are"""
    sources: Tensor
    """[k] int64: the beginning that each prediction is read from"""
    tokens: Tensor
    """[k] int64: the token that it predicts"""
    places: Tensor
    """[k] int64: its continuation's place in the table [n, c], row by row"""
    shape: tuple[int, int]
    """n and c"""


def lay_out(texts: Sequence[Text], continuations: Sequence[Sequence[Text]]) -> Continuations:
    """Return texts and their continuations as predictions from different beginnings.

    Args:
        texts: n of them.
        continuations: of each text, c of them.

    Raises:
        ValueError: if there is none, one is empty, or the texts do not have equally many.
    """
    counts = {len(several) for several in continuations}
    empty = any(not len(text) for some in (texts, *continuations) for text in some)
    if len(texts) != len(continuations) or len(counts) != 1 or counts == {0} or empty:
        raise ValueError(
            f"{len(texts)} texts and continuations of {len(continuations)}, {sorted(counts)} of "
            "each, were given: give one or more texts, each as many continuations, and none empty"
        )
    (count,) = counts
    numbers: dict[tuple[int, ...], int] = {}
    predictions: list[tuple[int, int, int]] = []
    for row, (text, several) in enumerate(zip(texts, continuations, strict=True)):
        for column, tokens in enumerate(several):
            for end, token in enumerate(tokens):
                beginning = (*text, *tokens[:end])
                source = numbers.setdefault(beginning, len(numbers))
                predictions.append((source, token, row * count + column))
    lengths = [len(beginning) for beginning in numbers]
    filled = [beginning + (0,) * (max(lengths) - len(beginning)) for beginning in numbers]
    table = torch.tensor(predictions)
    return Continuations(
        beginnings=torch.tensor(filled),
        lengths=torch.tensor(lengths),
        sources=table[:, 0],
        tokens=table[:, 1],
        places=table[:, 2],
        shape=(len(texts), count),
    )


@torch.no_grad()
def log_likelihoods(
    model: LanguageModel,
    continuations: Continuations,
    bias: Tensor | None = None,
    batch_size: int = 256,
    layer: int | None = None,
) -> Tensor:
    """Return the log-likelihood of each continuation after its text, [n, c] float64 on the CPU.

    Args:
        model: read where it is, without routes.
        continuations: from `lay_out`.
        bias: [v], added to the logits; none by default.
        batch_size: beginnings that are read at a time.
        layer: what the output head reads the residual stream after; the last one by default.
    """
    device, sources = model.device, continuations.sources
    found = torch.zeros(len(sources), dtype=torch.float64)
    for numbers in torch.split(torch.arange(len(continuations.lengths)), batch_size):
        lengths = continuations.lengths[numbers]
        beginnings = continuations.beginnings[numbers, : int(lengths.max())].to(device)
        read = _features(model, beginnings, layer)
        last = read[torch.arange(len(numbers)), lengths - 1]
        table = log_probabilities(model, last, bias).double().cpu()
        here = (sources >= numbers[0]) & (sources <= numbers[-1])
        found[here] = table[sources[here] - numbers[0], continuations.tokens[here]]
    sums = torch.zeros(continuations.shape, dtype=torch.float64)
    return sums.flatten().index_add(0, continuations.places, found).view(sums.shape)


def _features(model: LanguageModel, tokens_bt: Tensor, layer: int | None) -> Tensor:
    """Return what the output head reads, or would read after a layer, [B, T, D]."""
    if layer is None:
        return model.features(tokens_bt)
    return model.normed(model.residual(tokens_bt, layer))
