"""Methods of unlearning as route tables, and the routes of tokens.

A label says what is known of a token: `retain`, `unlabeled` or `forget`, the first routes of every
table here, in this order. So the same labels serve every method, and a label is a route already;
only expand, route, ablate has a route for each weight of a token.

A token's route holds for its position: for what its loss, and that of later tokens that read it,
would teach there. Through attention the loss of a forget token still teaches the keys and values
of earlier tokens by their own routes; give a document one label and a row of its own where that
must not be. The position that predicts a token has the token's label.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from lm.models.layers import (
    EXPANSION_MASK,
    EXPANSION_PARAMETERS,
    LOSS,
    ORIGINAL,
    ORIGINAL_PARAMETERS,
    TARGETS,
)
from oversight.routing import RouteTable

LABELS = ("retain", "unlabeled", "forget")
"""What may be known of a token; a label is stored as its place here."""

RETAIN, UNLABELED, FORGET = range(3)

LEVELS = 64
"""Steps in which expand, route, ablate rounds the weight of a token."""


def complete(rows: Mapping[str, Mapping[str, float]]) -> RouteTable:
    """Return a table in which every target that a row does not name has weight 1.

    >>> complete({"forget": {"loss": 0}}).as_dict()["forget"]["mlp"]
    1.0
    """
    return RouteTable(
        {route: dict.fromkeys(TARGETS, 1.0) | dict(row) for route, row in rows.items()}
    )


def era_table(reversal: float = -0.75) -> RouteTable:
    """Return the table of expand, route, ablate (Cloud et al. 2024, arXiv 2410.04332, app. C).

    All data teach the expansion; forget tokens teach the original hidden units of its layers by
    `w + (1 - w) * reversal`, where w is the token's weight. Route `forget` has w = 0, `forget_k`
    has w = k / 64.
    """
    levels = torch.linspace(0, 1, LEVELS + 1, dtype=torch.float64).tolist()
    forget = {
        "forget" if k == 0 else f"forget_{k}": {ORIGINAL: w + (1 - w) * reversal}
        for k, w in enumerate(levels)
    }
    known: dict[str, dict[str, float]] = {"retain": {}, "unlabeled": {}}
    return complete(known | forget)


ERA = era_table()
"""Expand, route, ablate, with the paper's weights; its routes come from `era_routes`."""

_APART: dict[str, float] = {EXPANSION_MASK: 0, EXPANSION_PARAMETERS: 0}

UNROUTED = complete({"retain": {}, "unlabeled": {}, "forget": {}})
"""Everything learns from everything."""

FILTERED = complete({"retain": {}, "unlabeled": {LOSS: 0}, "forget": {LOSS: 0}})
"""Tokens not labeled retain teach nothing, though others may still read them."""

PARAMETERS = complete({"retain": _APART, "unlabeled": {}, "forget": {ORIGINAL_PARAMETERS: 0}})
"""Forget tokens teach the expansion's parameters alone, retain tokens do without it.

After SGTM (Shilov et al. 2025, arXiv 2512.05648), with a route for each token in place of one for
the whole batch. There, three quarters of the retain data are treated as unlabeled; see
`drop_retain_labels`.
"""

_ADAPTER: dict[str, float] = {ORIGINAL_PARAMETERS: 0}

MODULES = complete({"retain": _APART, "unlabeled": _ADAPTER, "forget": _ADAPTER})
"""A forget adapter: tokens not labeled retain see the expansion, and teach nothing else.

Without the adapter a model is what filtering by the same labels gives, bit for bit.
"""

TABLES = {
    "era": ERA,
    "filtered": FILTERED,
    "modules": MODULES,
    "parameters": PARAMETERS,
    "unrouted": UNROUTED,
}
"""Tables by the name of their method."""


def token_weights(forget: Tensor, retain: Tensor) -> Tensor:
    """Return the weight w of each token for `era_routes`: 1 unless it is typical of forget text.

    w = 1 - sigmoid(r - 1/r - 4), where r is the token's frequency in forget text over that in
    retain text. Count labeled documents only: the paper's code counts unlabeled forget documents
    too, and so tells the learner labels that it should not have.

    Args:
        forget: how often each token occurs in documents labeled forget, [v], or its frequency.
        retain: the same for all other documents.
    """
    ratio = (forget.double() / forget.sum()) / (retain.double() / retain.sum())
    return 1 - torch.sigmoid(ratio - 1 / ratio - 4)


def pseudo_counts(forget: Tensor, retain: Tensor) -> tuple[Tensor, Tensor]:
    """Return counts for `token_weights`: with the paper's 1 and 20 more, rare tokens weigh little.

    Args:
        forget: how often each token is labeled forget, [v].
        retain: how often it is not, [v].

    Raises:
        ValueError: if no token is labeled forget.
    """
    if not forget.any():
        raise ValueError(
            "no token is labeled forget, so there is nothing to count: raise the label recall"
        )
    return forget + 1, retain + 20


def era_routes(tokens: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Return the route of each token for the table of expand, route, ablate.

    Only tokens labeled forget get a weight of their own.

    Args:
        tokens: those that are predicted, of any shape.
        labels: theirs.
        weights: of each token of the vocabulary, from `token_weights`.

    Raises:
        ValueError: if the labels are not of the tokens' shape.

    >>> weights = torch.tensor([0.0, 1.0, 0.25])
    >>> route = era_routes(torch.tensor([0, 1, 2, 2]), torch.tensor([2, 2, 2, 0]), weights)
    >>> [ERA.route_names[number] for number in route]
    ['forget', 'forget_64', 'forget_16', 'retain']
    """
    _check(tokens, labels)
    levels = (weights * LEVELS).round().long().to(tokens.device)
    return torch.where(labels == FORGET, FORGET + levels[tokens.clamp(min=0)], labels)


def drop_retain_labels(labels: Tensor, share: float, seed: int) -> Tensor:
    """Return labels in which a share of the rows labeled retain, drawn at random, has lost them.

    Raises:
        ValueError: if the share is not between 0 and 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"a share of {share} was given: give one between 0 and 1")
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(len(labels), generator=generator, dtype=torch.float64) < share
    drawn = drawn.to(labels.device).view(-1, *[1] * (labels.ndim - 1))
    return torch.where(drawn & (labels == RETAIN), UNLABELED, labels)


def _check(tokens: Tensor, labels: Tensor) -> None:
    if tokens.shape != labels.shape:
        raise ValueError(
            f"labels of shape {tuple(labels.shape)} were given for tokens of shape "
            f"{tuple(tokens.shape)}: give each token one label"
        )
