"""The methods of unlearning: what routes which tokens where, and what is cut out at the end."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lm.labels import Unit, token_labels
from lm.task import StoryRows
from lm.training.routes import (
    ERA,
    FILTERED,
    MODULES,
    PARAMETERS,
    UNROUTED,
    era_routes,
    release,
    token_counts,
    token_weights,
)
from oversight.routing import RouteTable

Ablation = Literal["nothing", "expansion", "random"]
"""What is cut out after training: the expansion, or as many random original hidden units."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to train a model and to take out of it what is to be forgotten."""

    table: RouteTable = UNROUTED
    """where each route's tokens may teach"""
    unit: Unit = "document"
    """what a label is of"""
    released: float = 0.0
    """share of the stories not labelled forget that the table treats as unlabelled, not retain"""
    judged: bool = False
    """whether labels go through a judge that learned from them (`lm.judge`)"""
    weighted: bool = False
    """whether forget tokens are routed by how typical of forget text they are"""
    expanded: bool = False
    """whether the model is trained with added hidden units"""
    ablation: Ablation = "nothing"
    """what is cut out after training"""
    rmu: bool = False
    """whether representations are misdirected after training (`lm.rmu`)"""
    told_truth: bool = False
    """whether it is given perfect labels whatever the labels of the run: a reference, no method"""


METHODS = {
    "gold": Method(table=FILTERED, told_truth=True),
    "filtered": Method(table=FILTERED),
    "filtered-tokens": Method(table=FILTERED, unit="token"),
    "filtered-judged": Method(table=FILTERED, judged=True),
    "unrouted": Method(),
    "unrouted-ablated": Method(expanded=True, ablation="expansion"),
    "random-region": Method(table=PARAMETERS, released=0.75, expanded=True, ablation="random"),
    "rmu": Method(rmu=True),
    "era": Method(table=ERA, weighted=True, expanded=True, ablation="expansion"),
    "parameters": Method(table=PARAMETERS, released=0.75, expanded=True, ablation="expansion"),
    "parameters-tokens": Method(
        table=PARAMETERS, unit="token", released=0.75, expanded=True, ablation="expansion"
    ),
    "parameters-judged": Method(
        table=PARAMETERS, judged=True, released=0.75, expanded=True, ablation="expansion"
    ),
    "modules": Method(table=MODULES, expanded=True, ablation="expansion"),
    "modules-judged": Method(table=MODULES, judged=True, expanded=True, ablation="expansion"),
}
"""Methods by name: the references and baselines first, then the routed ones."""


def routes_of(
    method: Method, rows: StoryRows, labelled: Tensor, vocab_size: int, seed: int
) -> Tensor:
    """Return the route of each predicted token for a method's table, [n, t].

    Args:
        method: one of `METHODS`.
        rows: the stories to train on.
        labelled: which are labelled to be forgotten, or judged to be, [n].
        vocab_size: tokens of the vocabulary.
        seed: of which stories are released.

    Raises:
        ValueError: if a weighted method is given no story labelled forget.
    """
    labels = release(token_labels(rows, labelled, method.unit), method.released, seed)
    if not method.weighted:
        return labels
    real = rows.kinds >= 0
    counts = token_counts(rows.following[real], labels[real], vocab_size)
    return era_routes(rows.following, labels, token_weights(*counts).to(torch.float32))
