"""Losses on stories, per token and per value of a fact, and log-likelihoods of continuations.

A continuation of several tokens is as many predictions: its first token after the text, its second
after the text and the first, and so on. `lay_out` plans them so that a prefix which occurs twice,
or which another one continues, is not computed again.

Models are evaluated on their device, outside of `routing`, with `batch_size` rows in a forward
pass. A `bias`, [v], as `lm.evaluation.quiz.calibrate` returns it, is added to the logits.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lm.corpus import Kind
from lm.data.task import StoryRows
from lm.models.language_model import LanguageModel

CHUNK_LOGITS = 2**25
"""Maximum number of logits in memory."""


def log_probabilities(model: LanguageModel, features: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the log-probability of each next token, [..., v], in float32 or finer.

    The features, [..., d], are those of `model.features`.
    """
    logits = model.logits(features)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return torch.log_softmax(logits if bias is None else logits + bias.to(logits), -1)


@torch.no_grad()
def token_losses(
    model: LanguageModel, rows: StoryRows, bias: Tensor | None = None, batch_size: int = 256
) -> Tensor:
    """Return the cross-entropy of each target, [n, t] on the CPU, 0 after the story."""
    table = torch.zeros(rows.kinds.shape)
    piece = max(1, CHUNK_LOGITS // model.vocab_size)
    for numbers in torch.split(torch.arange(len(rows)), batch_size):
        part = rows.take(numbers)
        real = part.kinds >= 0
        features, targets = real_features(model, part, real)
        pieces = zip(torch.split(features, piece), torch.split(targets, piece), strict=True)
        losses = [
            -log_probabilities(model, some, bias).gather(1, right[:, None])[:, 0].cpu()
            for some, right in pieces
        ]
        table[numbers] = torch.zeros(real.shape).masked_scatter(real, torch.cat(losses).float())
    return table


@torch.no_grad()
def real_features(model: LanguageModel, rows: StoryRows, real: Tensor) -> tuple[Tensor, Tensor]:
    """Return the features that predict the targets of a mask [n, t], [m, d], and these, [m]."""
    device = model.device
    end = int(real.any(0).nonzero().max()) + 1  # columns of padding only are cut
    chosen = real[:, :end].to(device)
    features = model.features(rows.inputs[:, :end].to(device))
    return features[chosen], rows.targets[:, :end].to(device)[chosen]


class Losses(NamedTuple):
    """Mean losses on stories, in nats."""

    loss: float
    """Mean loss per token."""
    facts: float | None
    """Mean loss per stated value, summed over its tokens; None if no story states a fact."""


def losses(
    model: LanguageModel, rows: StoryRows, bias: Tensor | None = None, batch_size: int = 256
) -> Losses:
    """Return the mean losses of a model on stories.

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
"""A sequence of tokens."""


@dataclass(frozen=True, eq=False)
class Continuations:
    """n texts with c continuations each, as k predictions from r rows of tokens."""

    rows: Tensor
    """[r, t] int64: sequences of tokens of which none begins another, padded with 0"""
    lengths: Tensor
    """[r] int64: lengths of the rows"""
    sources: Tensor
    """[k] int64: the row that each prediction reads"""
    positions: Tensor
    """[k] int64: the place in its row after which each token is predicted"""
    tokens: Tensor
    """[k] int64: the predicted token"""
    places: Tensor
    """[k] int64: flat index of its continuation in the table [n, c]"""
    shape: tuple[int, int]
    """The shape (n, c) of the table."""


def lay_out(texts: Sequence[Text], continuations: Sequence[Sequence[Text]]) -> Continuations:
    """Return n texts and c continuations of each as predictions from as few rows as possible.

    Raises:
        ValueError: if there is none, one is empty, or their numbers differ between texts.
    """
    counts = {len(several) for several in continuations}
    empty = any(not len(text) for some in (texts, *continuations) for text in some)
    if len(texts) != len(continuations) or len(counts) != 1 or counts == {0} or empty:
        raise ValueError(
            f"{len(texts)} texts and continuations of {len(continuations)}, {sorted(counts)} of "
            "each, were given: give one or more texts, each as many continuations, and none empty"
        )
    (count,) = counts
    predictions = [
        ((*text, *tokens[:end]), token, row * count + column)
        for row, (text, several) in enumerate(zip(texts, continuations, strict=True))
        for column, tokens in enumerate(several)
        for end, token in enumerate(tokens)
    ]
    whole = _continued({prefix for prefix, *_ in predictions})
    numbers = {row: n for n, row in enumerate(dict.fromkeys(whole[p] for p, *_ in predictions))}
    lengths = [len(row) for row in numbers]
    table = torch.tensor(
        [(numbers[whole[p]], len(p) - 1, token, place) for p, token, place in predictions]
    )
    sources, positions, tokens, places = table.unbind(1)
    return Continuations(
        rows=torch.tensor([row + (0,) * (max(lengths) - len(row)) for row in numbers]),
        lengths=torch.tensor(lengths),
        sources=sources,
        positions=positions,
        tokens=tokens,
        places=places,
        shape=(len(texts), count),
    )


def _continued(prefixes: Collection[tuple[int, ...]]) -> dict[tuple[int, ...], tuple[int, ...]]:
    """Return for each sequence one of the longest that begin with it; mostly that is itself.

    >>> _continued({(1,), (1, 2), (1, 3), (2,)})
    {(2,): (2,), (1, 3): (1, 3), (1, 2): (1, 2), (1,): (1, 2)}
    """
    found: dict[tuple[int, ...], tuple[int, ...]] = {}
    following: tuple[int, ...] = ()
    for prefix in sorted(prefixes, reverse=True):  # what continues a prefix comes right before it
        continues = following[: len(prefix)] == prefix
        found[prefix] = found[following] if continues else prefix
        following = prefix
    return found


@torch.no_grad()
def log_likelihoods(
    model: LanguageModel,
    continuations: Continuations,
    bias: Tensor | None = None,
    batch_size: int = 256,
    layer: int | None = None,
) -> Tensor:
    """Return the log-likelihood of each continuation after its text, [n, c] float64 on the CPU.

    The output head reads the residual stream after `layer`, by default the last.
    """
    device, sources = model.device, continuations.sources
    found = torch.zeros(len(sources), dtype=torch.float64)
    for numbers in torch.split(torch.arange(len(continuations.lengths)), batch_size):
        width = int(continuations.lengths[numbers].max())
        rows = continuations.rows[numbers, :width].to(device)
        read = _read(model, rows, layer)
        here = (sources >= numbers[0]) & (sources <= numbers[-1])
        flat = (sources[here] - numbers[0]) * width + continuations.positions[here]
        read_at, which = torch.unique(flat, return_inverse=True)
        features = read.flatten(0, 1)[read_at.to(device)]
        found[here] = _of_tokens(model, features, which, continuations.tokens[here], bias)
    sums = torch.zeros(continuations.shape, dtype=torch.float64)
    return sums.flatten().index_add(0, continuations.places, found).view(sums.shape)


def _read(model: LanguageModel, rows: Tensor, layer: int | None) -> Tensor:
    """Return what the output head reads after a layer, by default the last, [b, t, d]."""
    if layer is None:
        return model.features(rows)
    return model.normed(model.residual(rows, layer))


def _of_tokens(
    model: LanguageModel, features: Tensor, which: Tensor, tokens: Tensor, bias: Tensor | None
) -> Tensor:
    """Return the log-probability of each token, [k] float64 on the CPU.

    Args:
        model: the model.
        features: what the output head reads, [m, d].
        which: the number of the features that predict each token, [k].
        tokens: the tokens, [k].
        bias: as for `log_likelihoods`.
    """
    piece = max(1, CHUNK_LOGITS // model.vocab_size)
    found = torch.zeros(len(tokens), dtype=torch.float64)
    for start in range(0, len(features), piece):
        table = log_probabilities(model, features[start : start + piece], bias)
        here = (which >= start) & (which < start + piece)
        found[here] = table[which[here] - start, tokens[here]].double().cpu()
    return found
