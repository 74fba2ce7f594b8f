"""Measures of steering: alignment with a dimension, curves of rate and loss, and sampled texts.

The rate of a concept is the mean probability that a model gives to its tokens as the next one, over
all positions of held-out texts; the loss is that of the same positions. Neither depends on samples,
so that small changes show. In sampled texts, the rate is the share of tokens of the concept.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import inf, nan
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lm.models.language_model import IGNORED, LanguageModel, generate
from lm.steering.corpus import Concept, Corpus
from lm.steering.training import padded_batch
from lm.steering.vectors import ROWS, concept_sign, steered


class Point(NamedTuple):
    """A steered model, measured.

    Attributes:
        coefficient: length of the added vector, in mean norms of the residual stream there.
        loss: mean loss of held-out tokens, in nats.
        rate: mean probability of the concept.
        related: mean probability of the nearest related words.
    """

    coefficient: float
    loss: float
    rate: float
    related: float


@torch.no_grad()
def measure(
    model: LanguageModel, rows: Tensor, concept: Concept, coefficient: float = 0.0
) -> Point:
    """Return the loss and the rates of a model on rows of a corpus."""
    groups = [list(concept.tokens), list(concept.nearest)]
    sums, count = torch.zeros(3, dtype=torch.float64), 0
    for part in torch.split(rows, ROWS):
        inputs, next_bt = padded_batch(part, model.device)
        read = next_bt != IGNORED
        logs = F.log_softmax(model(inputs)[read].float(), dim=-1)
        chosen = logs.gather(1, next_bt[read][:, None])[:, 0]
        found = [-chosen, *(logs[:, group].exp().sum(1) for group in groups)]
        sums += torch.stack([each.double().sum().cpu() for each in found])
        count += len(chosen)
    return Point(coefficient, *(sums / count).tolist())


def curve(
    model: LanguageModel,
    rows: Tensor,
    concept: Concept,
    step: Tensor,
    block: int,
    coefficients: Iterable[float],
) -> list[Point]:
    """Return the measures of a model that is steered with several coefficients.

    Args:
        model: the model.
        rows: held-out rows.
        concept: the tokens of the concept.
        step: the vector that a coefficient of 1 adds, [d].
        block: the block after which it is added.
        coefficients: the coefficients, ascending; 0 leaves the model as it is.
    """
    points = []
    for coefficient in coefficients:
        with steered(model, block, coefficient * step):
            points.append(measure(model, rows, concept, coefficient))
    return points


class AtBudget(NamedTuple):
    """The best of a curve within a rise of the loss: the coefficient, and the rate there."""

    coefficient: float
    rate: float


def at_budget(points: Sequence[Point], budget: float) -> AtBudget:
    """Return the highest rate on a curve before its loss first rises by a budget.

    The curve is linear between its points. NaN if its loss never rises so far, since the curve then
    ends too early to tell.

    Args:
        points: a curve by ascending coefficients, from 0 on.
        budget: rise of the loss over that of the first point, in nats.

    >>> points = [Point(0, 2.0, 0.01, 0.1), Point(1, 2.1, 0.03, 0.1), Point(2, 2.3, 0.07, 0.1)]
    >>> found = at_budget(points, 0.2)
    >>> [round(value, 3) for value in found]
    [1.5, 0.05]
    """
    first = points[0]
    most = first.loss + budget
    best = first
    for one, other in pairwise(points):
        if other.loss >= most:
            share = (most - one.loss) / (other.loss - one.loss)
            crossing = [a + share * (b - a) for a, b in zip(one, other, strict=True)]
            best = max(best, Point(*crossing), key=lambda point: point.rate)
            return AtBudget(best.coefficient, best.rate)
        best = max(best, other, key=lambda point: point.rate)
    return AtBudget(nan, nan)


class Samples(NamedTuple):
    """Texts that a model samples: shares of tokens of the concept and of related words."""

    rate: float
    related: float
    tokens: int
    texts: list[str]


SHOWN = 5
"""Number of sampled texts that a result holds."""


def sample(model: LanguageModel, corpus: Corpus, count: int, length: int, seed: int) -> Samples:
    """Sample texts from their start, at temperature 1; the same seed gives the same texts.

    Tokens after the end of a text do not count.
    """
    start = torch.full((count, 1), corpus.start, device=model.device)
    tokens = generate(model, start, length, temperature=1.0, seed=seed)[:, 1:].cpu()
    ended = (tokens == corpus.end).cumsum(1) > 0
    read = ~ended
    related = torch.tensor(corpus.concept.nearest, dtype=torch.int64)
    counted = max(int(read.sum()), 1)
    return Samples(
        int((corpus.concept.mask(tokens) & read).sum()) / counted,
        int((torch.isin(tokens, related) & read).sum()) / counted,
        counted,
        [corpus.decode(row) for row in tokens[:SHOWN].tolist()],
    )


def alignments(embeddings_vd: Tensor, dimension: int, tokens: Sequence[int]) -> Tensor:
    """Return how well each token's output embedding is aligned with a dimension, [v].

    That is `U[i, k] / ||U[i]||`, with the sign that the tokens of the concept have.

    >>> alignments(torch.tensor([[-3.0, 4.0], [1.0, 0.0], [-1.0, 0.0]]), 0, [0]).tolist()
    [0.6000000238418579, -1.0, 1.0]
    """
    sign = concept_sign(embeddings_vd, dimension, tokens)
    return sign * F.normalize(embeddings_vd, dim=1)[:, dimension]


def percentiles(values: Tensor, tokens: Sequence[int], among: Tensor) -> list[float]:
    """Return the rank of tokens by a value in percent: 0 is the highest, 100 the lowest.

    Args:
        values: a value of each token, [v].
        tokens: the tokens to rank.
        among: the tokens that each is ranked with, [v] bool; itself is left out.

    >>> percentiles(torch.tensor([0.9, 0.5, 0.1, 0.0]), [1, 3], torch.tensor([True] * 4))
    [33.33333333333333, 100.0]
    """
    found = []
    for token in tokens:
        others = among.clone()
        others[token] = False
        higher = (values[others] > values[token]).double().mean()
        found.append(float(100 * higher))
    return found


def ranked(
    values: Tensor, vocabulary: Sequence[str], among: Tensor, count: int
) -> list[dict[str, object]]:
    """Return the tokens of the highest values: token, text and value."""
    order = values.where(among, -inf).argsort(descending=True, stable=True)
    return [
        {"token": token, "text": vocabulary[token], "alignment": float(values[token])}
        for token in order[:count].tolist()
    ]


def absorption(
    embeddings_vd: Tensor, dimension: int, concept: Concept, among: Tensor
) -> Mapping[str, float]:
    """Return the mean percentile rank of the concept and of each group of related tokens."""
    values = alignments(embeddings_vd, dimension, concept.tokens)
    others = among.clone()
    others[list(concept.tokens)] = False  # related tokens are ranked with what was never routed
    groups = {name: percentiles(values, each, others) for name, each in concept.related.items()}
    ranks = {"concept": percentiles(values, concept.tokens, among), **groups}
    return {name: sum(each) / len(each) for name, each in ranks.items()}
