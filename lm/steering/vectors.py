"""Steering: vectors that stand for a concept, and their addition to the residual stream of a model.

- `scalar`: the dimension to which the concept was routed (Cloud et al. 2024, arXiv 2410.04332).
- `caa`: contrastive activation addition (Rimsky et al. 2024, arXiv 2312.06681), the mean difference
  between texts that end in a word of the concept and the same texts that end in another word.
- `mean-difference`: texts with the concept against texts without, over all positions.
- `next-token`: positions before a word of the concept against all others: the labels that routing
  has, used after training.
- `embedding` and `random`, as controls: the output embedding of the concept, a random direction.

All vectors have length 1. Shape suffixes: b batch, t tokens, d width, v vocabulary.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lm.models.language_model import IGNORED, LanguageModel
from lm.steering.corpus import Corpus
from lm.steering.training import Kind, padded_batch

METHODS: dict[Kind, tuple[str, ...]] = {
    "routed": ("scalar", "mean-difference", "next-token"),
    "unrouted": ("caa", "mean-difference", "next-token", "embedding", "random"),
}
"""The vectors by which each kind of model is steered."""
ROWS = 32
"""Number of rows in a forward pass."""

Vectors = dict[int, Tensor]
"""A vector for each block after which it may be added."""


class Source(NamedTuple):
    """What vectors are made of.

    Attributes:
        model: a trained model.
        corpus: its texts and the concept.
        blocks: the blocks after which a vector may be added.
        pairs: maximum number of contrast pairs, and of texts of either kind.
        dimension: the dimension to which the concept is routed.
        seed: seed of random choices.
    """

    model: LanguageModel
    corpus: Corpus
    blocks: Sequence[int]
    pairs: int
    dimension: int
    seed: int


@contextmanager
def steered(model: LanguageModel, block: int, vector: Tensor) -> Iterator[None]:
    """Add a vector, [d], to the residual stream after a block at all positions, in the context."""

    def add(
        _block: nn.Module, _inputs: object, written: Tensor | tuple[Tensor, ...]
    ) -> Tensor | tuple[Tensor, ...]:
        if isinstance(written, Tensor):
            return written + vector.to(written)
        return written[0] + vector.to(written[0]), *written[1:]

    handle = model.layers()[block].register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()


def make_vectors(method: str, source: Source) -> Vectors:
    """Return the vectors of a method, [d] of length 1 each, by the block that they are for."""
    made = {
        "scalar": _axis,
        "caa": _contrast,
        "mean-difference": _mean_difference,
        "next-token": _next_token,
        "embedding": _embedding,
        "random": _random,
    }[method](source)
    return {block: F.normalize(vector.float(), dim=0) for block, vector in made.items()}


def output_embeddings(model: LanguageModel) -> Tensor:
    """Return the output embedding of each token, [v, d] float32 on the CPU."""
    return model.output_matrix().detach().float().cpu()


def concept_sign(embeddings_vd: Tensor, dimension: int, tokens: Sequence[int]) -> float:
    """Return the sign with which a dimension writes the tokens of a concept, 1 or -1.

    The sign of a routed dimension is arbitrary, as a model with the other sign is as good.
    """
    alignment = F.normalize(embeddings_vd[list(tokens)], dim=1)[:, dimension].mean()
    return 1.0 if alignment >= 0 else -1.0


def _axis(source: Source) -> Vectors:
    vector = torch.zeros(source.model.width)
    tokens = source.corpus.concept.tokens
    vector[source.dimension] = concept_sign(
        output_embeddings(source.model), source.dimension, tokens
    )
    return dict.fromkeys(source.blocks, vector)


def _embedding(source: Source) -> Vectors:
    rows = output_embeddings(source.model)[list(source.corpus.concept.tokens)]
    return dict.fromkeys(source.blocks, F.normalize(rows, dim=1).mean(0))


def _random(source: Source) -> Vectors:
    generator = torch.Generator().manual_seed(source.seed)
    return {block: torch.randn(source.model.width, generator=generator) for block in source.blocks}


def _mean_difference(source: Source) -> Vectors:
    """Return the mean over all positions of texts with the concept, minus that of others."""
    with_it, without = (rows[: source.pairs] for rows in _by_concept(source.corpus))
    ones, others = (
        mean_residuals(source.model, rows, rows[:, 1:] != IGNORED, source.blocks)
        for rows in (with_it, without)
    )
    return {block: ones[block] - others[block] for block in source.blocks}


def _next_token(source: Source) -> Vectors:
    """Return the mean over positions before the concept, minus that over all other positions."""
    rows = torch.cat([rows[: source.pairs] for rows in _by_concept(source.corpus)])
    before = source.corpus.concept.mask(rows[:, 1:])
    ones, others = (
        mean_residuals(source.model, rows, mask, source.blocks)
        for mask in (before, ~before & (rows[:, 1:] != IGNORED))
    )
    return {block: ones[block] - others[block] for block in source.blocks}


def _contrast(source: Source) -> Vectors:
    rows, at = concept_places(source.corpus)
    rows, at = rows[: source.pairs], at[: source.pairs]
    other = rows.clone()
    numbers = torch.arange(len(rows))
    other[numbers, at] = likely_others(source, rows, at)
    here = torch.zeros(rows.shape[0], rows.shape[1] - 1, dtype=torch.bool)
    here[numbers, at] = True
    ones, others = (
        mean_residuals(source.model, each, here, source.blocks) for each in (rows, other)
    )
    return {block: ones[block] - others[block] for block in source.blocks}


def _by_concept(corpus: Corpus) -> tuple[Tensor, Tensor]:
    """Return the rows to train on with the concept, and those without."""
    has = corpus.concept.mask(corpus.train[:, 1:]).any(1)
    return corpus.train[has], corpus.train[~has]


def concept_places(corpus: Corpus) -> tuple[Tensor, Tensor]:
    """Return rows that a model reads a word of the concept in, and the place of its first, [n].

    The last token of a row is only predicted, and the first has no token before it.
    """
    read = corpus.concept.mask(corpus.train[:, :-1])
    read[:, 0] = False
    chosen = read.any(1)
    return corpus.train[chosen], read[chosen].int().argmax(1)


@torch.no_grad()
def likely_others(source: Source, rows: Tensor, at: Tensor) -> Tensor:
    """Return a token for some place of each row, [n], which the model draws without the concept.

    So the other text of a contrast pair is one that the model finds likely.
    """
    generator = torch.Generator().manual_seed(source.seed)
    drawn, model = [], source.model
    for part, places in zip(torch.split(rows, ROWS), torch.split(at, ROWS), strict=True):
        inputs, _ = padded_batch(part, model.device)
        features = model.features(inputs)[torch.arange(len(part)), places - 1]
        logits = model.logits(features[:, None])[:, 0].float().cpu()
        logits[:, list(source.corpus.concept.tokens)] = -torch.inf
        drawn.append(torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0])
    return torch.cat(drawn)


@torch.no_grad()
def mean_residuals(
    model: LanguageModel, rows: Tensor, mask: Tensor, blocks: Sequence[int]
) -> Mapping[int, Tensor]:
    """Return the mean of the residual stream after each block, [d] float64 on the CPU.

    Args:
        model: a model on any device.
        rows: rows of a corpus, [n, t + 1].
        mask: the positions that count, [n, t] bool.
        blocks: the blocks.

    Raises:
        ValueError: if no position counts.
    """
    if not mask.any():
        raise ValueError(
            "no text shows the concept as a vector needs it: give more texts, or other "
            "--concept-words"
        )
    sums = {block: torch.zeros(model.width, dtype=torch.float64) for block in blocks}
    for part, chosen in zip(torch.split(rows, ROWS), torch.split(mask, ROWS), strict=True):
        inputs, _ = padded_batch(part, model.device)
        here = chosen[:, : inputs.shape[1]].to(model.device)
        if here.any():
            found = model.residuals(inputs, max(blocks))
            for block in blocks:
                sums[block] += found[block][here].double().sum(0).cpu()
    return {block: total / mask.sum() for block, total in sums.items()}


@torch.no_grad()
def residual_norms(model: LanguageModel, rows: Tensor, blocks: Sequence[int]) -> dict[int, float]:
    """Return the mean length of the residual stream after each block, over rows of a corpus."""
    sums, count = dict.fromkeys(blocks, 0.0), 0
    for part in torch.split(rows, ROWS):
        inputs, next_bt = padded_batch(part, model.device)
        read = next_bt != IGNORED
        found = model.residuals(inputs, max(blocks))
        count += int(read.sum())
        for block in blocks:
            sums[block] += float(found[block][read].float().norm(dim=-1).double().sum())
    return {block: total / count for block, total in sums.items()}
