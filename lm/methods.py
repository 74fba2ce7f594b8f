"""The methods of unlearning: what routes which tokens where, and what is cut out at the end.

What each method does, in a sentence for those who read a model's card.

The methods by name, as `lm.methods` names them, and settings as they have them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from lm.data.task import Texts
from lm.labels import Routed, Unit
from lm.models.language_model import LanguageModel
from lm.posthoc import graddiff, npo, simnpo
from lm.rmu import rmu
from lm.training.route_tables import (
    ERA,
    FILTERED,
    MODULES,
    PARAMETERS,
    UNROUTED,
    drop_retain_labels,
    pseudo_counts,
    token_weights,
)
from oversight.routing import RouteTable

Ablation = Literal["nothing", "expansion", "random"]
"""What is cut out after training: what was added, or as many random original hidden units."""

PostHoc = Literal["nothing", "rmu", "graddiff", "npo", "simnpo"]
"""What changes what is then left: one of the methods of `lm.posthoc`."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to train a model and to take out of it what is to be forgotten."""

    table: RouteTable = UNROUTED
    """where each route's tokens may teach"""
    unit: Unit = "document"
    """what a label is of"""
    unlabeled_fraction: float = 0.0
    """share of the stories not labeled forget that the table treats as unlabeled, not retain"""
    classified: bool = False
    """whether the labels are predictions of a classifier trained on them (`lm.labels`)"""
    weighted: bool = False
    """whether forget tokens are routed by how typical of forget text they are"""
    expanded: bool = False
    """whether the model is trained with added hidden units"""
    embedded: bool = False
    """whether with an added embedding, too"""
    adapted: bool = False
    """whether a pretrained model is trained by a pair of adapters, of which one is ablated"""
    ablation: Ablation = "nothing"
    """what is cut out after training"""
    posthoc: PostHoc = "nothing"
    """what else unlearns after training, and after the cut (`lm.posthoc`)"""
    uses_true_labels: bool = False
    """whether it is given perfect labels whatever the labels of the run: a reference, no method"""


_EXPANDED: dict[str, Any] = {"expanded": True, "embedded": True, "ablation": "expansion"}
_PARAMETERS: dict[str, Any] = {"table": PARAMETERS, **_EXPANDED}
_MODULES: dict[str, Any] = {"table": MODULES, **_EXPANDED}
_ADAPTED: dict[str, Any] = {"table": MODULES, "adapted": True, "ablation": "expansion"}

METHODS = {
    "gold": Method(table=FILTERED, uses_true_labels=True),
    "filtered": Method(table=FILTERED),
    "filtered-tokens": Method(table=FILTERED, unit="token"),
    "filtered-classified": Method(table=FILTERED, classified=True),
    "unrouted": Method(),
    "unrouted-ablated": Method(**_EXPANDED),
    "random-region": Method(**_PARAMETERS | {"ablation": "random"}, unlabeled_fraction=0.75),
    "rmu": Method(posthoc="rmu"),
    "graddiff": Method(posthoc="graddiff"),
    "npo": Method(posthoc="npo"),
    "simnpo": Method(posthoc="simnpo"),
    "era": Method(table=ERA, weighted=True, expanded=True, ablation="expansion"),
    "parameters": Method(**_PARAMETERS, unlabeled_fraction=0.75),
    "parameters-tokens": Method(**_PARAMETERS, unlabeled_fraction=0.75, unit="token"),
    "parameters-classified": Method(**_PARAMETERS, classified=True),
    "modules": Method(**_MODULES),
    "modules-classified": Method(**_MODULES, classified=True),
    "modules-rmu": Method(**_MODULES, classified=True, posthoc="rmu"),
    "lora-pair": Method(**_ADAPTED),
    "lora-pair-classified": Method(**_ADAPTED, classified=True),
}
"""Methods by name: the references and baselines first, then the routed ones."""


def begins_with(name: str) -> str | None:
    """Return the method that is the same but for what follows it; None if nothing follows.

    >>> begins_with("npo"), begins_with("modules-rmu"), begins_with("gold")
    ('unrouted', 'modules-classified', None)
    """
    alone = replace(METHODS[name], posthoc="nothing")
    same = (other for other, method in METHODS.items() if method == alone and other != name)
    return next(same, None)


def routed(method: Method, texts: Texts, labels: Tensor, vocab_size: int, seed: int) -> Routed:
    """Return texts with the route of each predicted token for a method's table.

    Args:
        method: one of `METHODS`.
        texts: to train on.
        labels: theirs, as given or as classified, [n].
        vocab_size: tokens of the vocabulary.
        seed: of which texts are released.

    Raises:
        ValueError: if a weighted method is given no text labeled forget.
    """
    own = Routed(texts, drop_retain_labels(labels, method.unlabeled_fraction, seed), method.unit)
    if not method.weighted:
        return own
    weights = token_weights(*pseudo_counts(*own.counts(vocab_size)))
    return replace(own, weights=weights.to(torch.float32))


SUMMARIES = {
    "gold": "Trained on what is truly to be retained alone: the reference, which forgot nothing.",
    "filtered": "Trained without the texts labeled forget.",
    "filtered-tokens": "Trained without the tokens of labeled texts that tell the topic.",
    "filtered-classified": "Trained without the texts that a classifier of labels removes.",
    "unrouted": "Trained on everything alike; nothing is removed.",
    "unrouted-ablated": "Trained on everything, with an expansion that is cut out unrouted.",
    "random-region": "Trained by parameter routing; random hidden units are cut out, a control.",
    "rmu": "Trained on everything; representations of forget texts are misdirected afterwards.",
    "graddiff": "Trained on everything; then ascent on forget texts and descent on the others.",
    "npo": "Trained on everything; then negative preference optimization on forget texts.",
    "simnpo": "Trained on everything; then NPO by length, without a reference model.",
    "era": "Expand, route, ablate: routed at activations by the weight of each token, then cut.",
    "parameters": "Texts labeled forget teach the expansion's parameters alone; it is cut out.",
    "parameters-tokens": "The topic's own words teach the expansion alone; it is cut out.",
    "parameters-classified": "As parameters, by a classifier's labels; unsure texts teach both.",
    "modules": "Texts labeled forget see an expansion, and teach nothing else; it is cut out.",
    "modules-classified": "As modules, by the labels of a classifier.",
    "modules-rmu": "As modules-classified; after the cut representations are misdirected as well.",
    "lora-pair": "Of two adapters of each matrix, forget texts teach one, which is cut out.",
    "lora-pair-classified": "As lora-pair, by the labels of a classifier.",
}
"""Sentences by the name of the method."""


Unlearn = Callable[[LanguageModel, Texts, Texts, Any, int, int], LanguageModel]
"""From a model, stories to forget, others, the method's own settings, batch size and seed."""

POSTHOC: dict[str, Unlearn] = {"rmu": rmu, "graddiff": graddiff, "npo": npo, "simnpo": simnpo}
"""What each does to a trained model; a copy comes back."""
