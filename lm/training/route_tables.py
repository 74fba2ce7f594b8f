"""Methods of unlearning as route tables, and the routes of tokens.

A label states what is known about a token: `retain`, `unlabeled` or `forget`. These are the first
routes of every table here, in this order, so that the same labels serve every method. A label is
already a route, except for expand, route, ablate, which has one route for each rounded weight of a
token.

The route of a token applies to its position: to the gradients that its own loss, and the losses of
later tokens that attend to it, send through the parts of the network at that position. Through
attention, the loss of a forget token still teaches the keys and values of earlier tokens by their
own routes. Where that must not happen, give a document one label and a row of its own. The position
that predicts a token has the label of that token.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lm.models.shapes import (
    EXPANSION,
    EXPANSION_MASK,
    EXPANSION_PARAMETERS,
    LOSS,
    ORIGINAL,
    ORIGINAL_PARAMETERS,
    targets,
)
from oversight.routing import RouteTable

LABELS = ("retain", "unlabeled", "forget")
"""What may be known of a token; a label is stored as its index in this tuple."""

RETAIN, UNLABELED, FORGET = range(3)

LEVELS = 64
"""Number of levels to which expand, route, ablate rounds the weight of a token."""


def complete(
    rows: Mapping[str, Mapping[str, float]], modules: Sequence[str] = (EXPANSION,)
) -> RouteTable:
    """Return a table in which all targets that a row does not name have weight 1.

    The targets are those of a model with the given modules.

    >>> complete({"forget": {"loss": 0}}).as_dict()["forget"]["mlp"]
    1.0
    """
    names = targets(modules)
    return RouteTable({route: dict.fromkeys(names, 1.0) | dict(row) for route, row in rows.items()})


def era_table(reversal: float = -0.75) -> RouteTable:
    """Return the table of expand, route, ablate (Cloud et al. 2024, arXiv 2410.04332, app. C).

    All tokens teach the expansion. Forget tokens teach the original hidden units of the expanded
    layers with weight `w + (1 - w) * reversal`, where w is the weight of the token: 0 for route
    `forget`, k / 64 for route `forget_k`.
    """
    levels = torch.linspace(0, 1, LEVELS + 1, dtype=torch.float64).tolist()
    forget = {
        "forget" if k == 0 else f"forget_{k}": {ORIGINAL: w + (1 - w) * reversal}
        for k, w in enumerate(levels)
    }
    known: dict[str, dict[str, float]] = {"retain": {}, "unlabeled": {}}
    return complete(known | forget)


ERA = era_table()
"""Expand, route, ablate with the weights of the paper; `era_routes` gives its routes."""

_NO_EXPANSION: dict[str, float] = {EXPANSION_MASK: 0, EXPANSION_PARAMETERS: 0}

UNROUTED = complete({"retain": {}, "unlabeled": {}, "forget": {}})
"""Every token teaches every target."""

FILTERED = complete({"retain": {}, "unlabeled": {LOSS: 0}, "forget": {LOSS: 0}})
"""Only tokens labeled retain teach; other tokens may still be attended to."""

PARAMETERS = complete(
    {"retain": _NO_EXPANSION, "unlabeled": {}, "forget": {ORIGINAL_PARAMETERS: 0}}
)
"""Forget tokens teach only the parameters of the expansion, which retain tokens do not see.

After SGTM (Shilov et al. 2025, arXiv 2512.05648), but with a route for each token instead of one
for the whole batch. In SGTM, three quarters of the retain data are treated as unlabeled, and so are
all forget data that the labels miss (`parameters-checked`).
"""

_ADAPTER: dict[str, float] = {ORIGINAL_PARAMETERS: 0}

MODULES = complete({"retain": _NO_EXPANSION, "unlabeled": _ADAPTER, "forget": _ADAPTER})
"""A forget adapter: tokens not labeled retain see the expansion and teach nothing else.

Without the adapter, the model equals that of filtering by the same labels, bit for bit.
"""

REVERSED = complete(
    {"retain": _NO_EXPANSION, "unlabeled": _ADAPTER, "forget": {ORIGINAL_PARAMETERS: -1}}
)
"""A forget adapter as in `MODULES`, from whose tokens everything else learns the reverse.

What the model knew before is moved into the adapter: as the adapter learns to predict forget
tokens, the rest unlearns to. The loss is that of both together, so that the ascent fades where the
adapter predicts the tokens; ascent on the model alone has no end. Expand, route, ablate reverses
gradients for the same reason. As long as all changes are small, what is left after the ablation is
the model minus what training on these tokens would have added, as in task arithmetic (Ilharco et
al. 2023, arXiv 2212.04089).
"""


def token_weights(forget: Tensor, retain: Tensor) -> Tensor:
    """Return the weight w of each token for `era_routes`: 1 unless it is typical of forget text.

    w = 1 - sigmoid(r - 1/r - 4), where r is the frequency of the token in forget text over that in
    retain text. Count labeled documents only: the code of the paper also counts unlabeled forget
    documents, and so reveals labels that the learner should not have.

    `forget` is how often each token occurs in documents labeled forget, [v], or its frequency;
    `retain` is the same for all other documents.
    """
    ratio = (forget.double() / forget.sum()) / (retain.double() / retain.sum())
    return 1 - torch.sigmoid(ratio - 1 / ratio - 4)


def pseudo_counts(forget: Tensor, retain: Tensor) -> tuple[Tensor, Tensor]:
    """Return counts for `token_weights`, smoothed as in the paper: rare tokens count little.

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

    Only tokens labeled forget get a route by weight. Tokens and labels have the same shape; the
    weights, [v], are those of `token_weights`.

    Raises:
        ValueError: if the shapes of labels and tokens differ.

    >>> weights = torch.tensor([0.0, 1.0, 0.25])
    >>> route = era_routes(torch.tensor([0, 1, 2, 2]), torch.tensor([2, 2, 2, 0]), weights)
    >>> [ERA.route_names[number] for number in route]
    ['forget', 'forget_64', 'forget_16', 'retain']
    """
    if tokens.shape != labels.shape:
        raise ValueError(
            f"labels of shape {tuple(labels.shape)} were given for tokens of shape "
            f"{tuple(tokens.shape)}: give each token one label"
        )
    levels = (weights * LEVELS).round().long().to(tokens.device)
    return torch.where(labels == FORGET, FORGET + levels[tokens.clamp(min=0)], labels)
