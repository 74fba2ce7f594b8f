"""Losses on stories, per token and per value of a fact, and log-likelihoods of continuations.

A continuation of several tokens is as many predictions: its first token after the text, its second
after the text and the first, and so on. `lay_out` plans them so that equal prefixes are computed
once: all one-token continuations of a text are read from one forward pass. `lay_out_whole` reads
all tokens of a long continuation from one forward pass.

Models are evaluated on their device, outside of `routing`, with `batch_size` rows or prefixes in a
forward pass. A `bias`, [v], as `lm.evaluation.quiz.calibrate` returns it, is added to the logits.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    """n texts with c continuations each, as k predictions from r different prefixes."""

    prefixes: Tensor
    """[r, t] int64: the prefixes, padded with 0"""
    lengths: Tensor
    """[r] int64: lengths of the prefixes"""
    sources: Tensor
    """[k] int64: the prefix of each prediction"""
    tokens: Tensor
    """[k] int64: the predicted token"""
    places: Tensor
    """[k] int64: flat index of its continuation in the table [n, c]"""
    shape: tuple[int, int]
    """The shape (n, c) of the table."""
    positions: Tensor | None = None
    """[k] int64: the place in its prefix after which each token is predicted; None if that is
    always the end"""


def lay_out(texts: Sequence[Text], continuations: Sequence[Sequence[Text]]) -> Continuations:
    """Return n texts and c continuations of each as predictions from different prefixes.

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
    numbers: dict[tuple[int, ...], int] = {}
    predictions: list[tuple[int, int, int]] = []
    for row, (text, several) in enumerate(zip(texts, continuations, strict=True)):
        for column, tokens in enumerate(several):
            for end, token in enumerate(tokens):
                prefix = (*text, *tokens[:end])
                source = numbers.setdefault(prefix, len(numbers))
                predictions.append((source, token, row * count + column))
    lengths = [len(prefix) for prefix in numbers]
    filled = [prefix + (0,) * (max(lengths) - len(prefix)) for prefix in numbers]
    table = torch.tensor(predictions)
    return Continuations(
        prefixes=torch.tensor(filled),
        lengths=torch.tensor(lengths),
        sources=table[:, 0],
        tokens=table[:, 1],
        places=table[:, 2],
        shape=(len(texts), count),
    )


def lay_out_whole(texts: Sequence[Text], continuations: Sequence[Sequence[Text]]) -> Continuations:
    """Return the same as `lay_out`, with one prefix for all tokens of a continuation.

    Raises:
        ValueError: if there is none, one is empty, or their numbers differ between texts.
    """
    first = lay_out(texts, [[tokens[:1] for tokens in several] for several in continuations])
    numbers: dict[tuple[int, ...], int] = {}
    predictions: list[tuple[int, int, int, int]] = []
    for row, (text, several) in enumerate(zip(texts, continuations, strict=True)):
        for column, tokens in enumerate(several):
            source = numbers.setdefault((*text, *tokens[:-1]), len(numbers))
            place = row * first.shape[1] + column
            last = len(text) - 1
            predictions += [(source, token, place, last + n) for n, token in enumerate(tokens)]
    lengths = [len(prefix) for prefix in numbers]
    filled = [prefix + (0,) * (max(lengths) - len(prefix)) for prefix in numbers]
    sources, targets, places, positions = torch.tensor(predictions).unbind(1)
    return replace(
        first,
        prefixes=torch.tensor(filled),
        lengths=torch.tensor(lengths),
        sources=sources,
        tokens=targets,
        places=places,
        positions=positions,
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

    The output head reads the residual stream after `layer`, by default the last.
    """
    device, sources = model.device, continuations.sources
    found = torch.zeros(len(sources), dtype=torch.float64)
    for numbers in torch.split(torch.arange(len(continuations.lengths)), batch_size):
        lengths = continuations.lengths[numbers]
        prefixes = continuations.prefixes[numbers, : int(lengths.max())].to(device)
        if layer is None:
            read = model.features(prefixes)
        else:
            read = model.normed(model.residual(prefixes, layer))
        here = (sources >= numbers[0]) & (sources <= numbers[-1])
        rows, targets = sources[here] - numbers[0], continuations.tokens[here]
        if continuations.positions is None:
            last = read[torch.arange(len(numbers)), lengths - 1]
            table = log_probabilities(model, last, bias).double().cpu()
            found[here] = table[rows, targets]
        else:
            found[here] = _of_tokens(
                model, read[rows, continuations.positions[here]], targets, bias
            )
    sums = torch.zeros(continuations.shape, dtype=torch.float64)
    return sums.flatten().index_add(0, continuations.places, found).view(sums.shape)


def _of_tokens(
    model: LanguageModel, features: Tensor, tokens: Tensor, bias: Tensor | None
) -> Tensor:
    """Return the log-probability of each token, [k] float64, after the features that predict it."""
    piece = max(1, CHUNK_LOGITS // model.vocab_size)
    found = []
    for some, right in zip(torch.split(features, piece), torch.split(tokens, piece), strict=True):
        table = log_probabilities(model, some, bias)
        found.append(table.gather(1, right[:, None].to(table.device))[:, 0].double().cpu())
    return torch.cat(found)
