"""The methods by name: how each routes tokens, what it ablates, and what follows training.

A method that is trained once per profile is named with the topics that it keeps: `filtered+forest`
is `filtered` on the texts that are labeled retain or with the topic forest.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Literal

import torch
from torch import Tensor

from lm.data.task import Texts
from lm.labels import Routed, Unit, drop_retain_labels
from lm.models.shapes import EXPANSION
from lm.posthoc import POSTHOC
from lm.training.branches import branch_table
from lm.training.profiles import expert_table, profile_table
from lm.training.route_tables import (
    ERA,
    FILTERED,
    MODULES,
    PARAMETERS,
    REVERSED,
    UNROUTED,
    pseudo_counts,
    token_weights,
)
from oversight.routing import RouteTable

GOLD, BASE = "gold", "unrouted"
"""The references: a model that was never trained on the texts to forget, and a model that was
trained on all texts in the same way."""

KEEPS = "+"
"""What stands between the name of a method and those of the topics that it keeps."""

Ablation = Literal["nothing", "expansion", "random"]
"""What is removed after training: the expansion, or as many random original hidden units."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Labels:
    """Which labels of texts a method is given, and what they apply to."""

    unit: Unit = "document"
    """Whether a label applies to all tokens of a text, or only to words specific to the topic."""
    true: bool = False
    """Whether the method is a reference that gets the true labels instead of those of the run."""
    classified: bool = False
    """Whether the labels are predictions of a classifier trained on them (`lm.classifier`)."""
    unlabeled_fraction: float = 0.0
    """Fraction of the texts labeled retain whose label is dropped at random."""
    retain_checked: bool = False
    """Whether the remaining labels retain were checked, so that no text to forget has one."""
    retain_missing: bool = False
    """Whether texts to retain lack their label as often as those to forget, by the label recall."""
    weighted: bool = False
    """Whether forget tokens are routed by weights, which are higher for tokens typical of them."""
    fills_batches: bool = False
    """Whether texts that are not labeled retain are left out of batches, so that as many steps as
    in other methods pass over the rest more often; in other methods of filtering they keep their
    place, and teach nothing."""


Kind = Literal["units", "adapters", "experts"]
"""What a module is: hidden units added to the MLP of each layer, an adapter of each matrix of a
pretrained model beside one that is kept, or an MLP in the place of that of the core."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Modules:
    """The removable parts with which a method trains a model."""

    kind: Kind = "units"
    """What each of them is."""
    per_topic: bool = False
    """Whether there is one for each topic, whose routes are those of `lm.training.profiles` instead
    of a table, or one for all that is to be forgotten."""
    embedded: bool = False
    """Whether each has an embedding as well, beside its hidden units."""
    only_adapters: bool = False
    """Whether embeddings, the last norm and the output head are frozen where adapters train."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to train a model and to remove knowledge from it."""

    summary: str = field(compare=False)
    """The sentence that describes the method on model cards."""
    table: RouteTable = UNROUTED
    """Weight of each route at each target."""
    labels: Labels = Labels()
    """What the method is told."""
    modules: Modules | None = None
    """The removable parts of its model, if it has some."""
    ablation: Ablation = "nothing"
    """What is removed after training."""
    posthoc: str | None = None
    """The method of `lm.posthoc` that runs after training and ablation."""
    labeler: str | None = None
    """The method of the model that trains first on the labeled texts alone, and labels the others
    (`lm.training.assignment`), if there is one."""
    per_profile: bool = False
    """Whether each profile takes a training of its own."""
    kept: tuple[str, ...] = ()
    """Topics to forget that this training keeps, if there is one per profile."""
    branch: Literal["none", "module", "copy"] = "none"
    """What follows a training on the core alone (`lm.branching`): nothing, the training of a module
    for each topic beside the frozen core, or that of a copy of the model on the topics it keeps."""

    @property
    def kind(self) -> Kind | None:
        """What the modules of its model are, if it has some."""
        return None if self.modules is None else self.modules.kind

    @property
    def per_topic(self) -> bool:
        """Whether there is a module for each topic."""
        return self.modules is not None and self.modules.per_topic

    @property
    def uses_expansion(self) -> bool:
        """Whether its model, or that of its labeler, has modules of `--expansion` hidden units."""
        return self.kind == "units" or self.labeler is not None

    @property
    def has_branches(self) -> bool:
        """Whether a training on topics follows that on the core."""
        return self.branch == "module" or (self.branch == "copy" and bool(self.kept))

    @property
    def draws_routes(self) -> bool:
        """Whether a text of the core, or of a topic, takes one of several routes at random."""
        return self.per_topic and self.kind != "experts" and not self.has_branches

    @property
    def routes(self) -> bool:
        """Whether labels decide what a text teaches."""
        return self.per_topic or self.table != UNROUTED

    @property
    def unlearns(self) -> bool:
        """Whether this is a method of unlearning and not a reference or a control."""
        changed = self.posthoc is not None or self.routes
        return changed and not (self.labels.true or self.kept) and self.ablation != "random"

    @property
    def labels_topics(self) -> bool:
        """Whether the topic of a text labeled forget matters."""
        return self.per_topic or bool(self.kept) or self.labeler is not None

    def module_names(self, topics: Sequence[str]) -> tuple[str, ...]:
        """Return the names of the modules of a model, if it is trained with some."""
        return tuple(topics) if self.per_topic else (EXPANSION,)

    def route_table(self, topics: Sequence[str]) -> RouteTable:
        """Return the weights of the routes in a run with some topics to forget."""
        if self.has_branches:
            return branch_table(topics) if self.branch == "module" else UNROUTED
        if not self.per_topic:
            return self.table
        return expert_table(topics) if self.kind == "experts" else profile_table(topics)


def _expanded(summary: str, table: RouteTable = UNROUTED) -> Method:
    modules = Modules(embedded=True)
    return Method(summary=summary, table=table, modules=modules, ablation="expansion")


_CLASSIFIED = Labels(classified=True)
_BY_TOKEN = Labels(unit="token")


_PARAMETERS = _expanded(
    "Texts labeled forget train only the parameters of an expansion, which is ablated.", PARAMETERS
)
_MODULES = _expanded(
    "Texts labeled forget pass through an expansion and train nothing else; it is ablated.",
    MODULES,
)
_LORA_PAIR = Method(
    summary="Each matrix has two adapters; texts labeled forget train one, which is ablated.",
    table=MODULES,
    modules=Modules(kind="adapters"),
    ablation="expansion",
)

_GRAM = Method(
    summary="Texts labeled with a topic train a module of that topic and, with some probability, "
    "the rest of the model; unlabeled texts train everything; all modules are ablated.",
    labels=Labels(retain_checked=True, retain_missing=True),
    modules=Modules(per_topic=True, embedded=True),
    ablation="expansion",
)

METHODS: dict[str, Method] = {
    GOLD: Method(
        summary="The reference: trained on the texts that are truly to be retained, and no others.",
        table=FILTERED,
        labels=Labels(true=True),
    ),
    "filtered": Method(
        summary="Trained without the texts labeled forget.", table=FILTERED, per_profile=True
    ),
    "filtered-checked": Method(
        summary="Trained, for as many steps as other methods, on nothing but the texts to retain "
        "that gram is told of.",
        table=FILTERED,
        labels=Labels(retain_checked=True, retain_missing=True, fills_batches=True),
    ),
    "filtered-tokens": Method(
        summary="Trained without those tokens of texts labeled forget that reveal the topic.",
        table=FILTERED,
        labels=_BY_TOKEN,
    ),
    "filtered-classified": Method(
        summary="Trained without the texts that a classifier, trained on the labels, removes.",
        table=FILTERED,
        labels=_CLASSIFIED,
        per_profile=True,
    ),
    "filtered-em": Method(
        summary="Trained without the texts that are labeled forget, by the labels that gram-em "
        "completes.",
        table=FILTERED,
        labels=Labels(retain_checked=True, retain_missing=True),
        labeler="gram",
        per_profile=True,
    ),
    BASE: Method(summary="Trained on all texts alike; nothing is removed."),
    "unrouted-ablated": _expanded(
        "A control: trained on all texts with an unrouted expansion, which is ablated."
    ),
    "random-region": replace(
        _PARAMETERS,
        summary="A control: trained as parameters; as many random hidden units are ablated.",
        ablation="random",
        labels=Labels(unlabeled_fraction=0.75),
    ),
    **{name: Method(summary=each.summary, posthoc=name) for name, each in POSTHOC.items()},
    "era": Method(
        summary="Expand, route, ablate: each token is routed at activations by its weight.",
        table=ERA,
        labels=Labels(weighted=True),
        modules=Modules(),
        ablation="expansion",
    ),
    "parameters": replace(
        _PARAMETERS,
        summary="Texts labeled forget train only the parameters of an expansion, which is ablated; "
        "a random quarter of the others trains without it.",
        labels=Labels(unlabeled_fraction=0.75),
    ),
    "parameters-checked": replace(
        _PARAMETERS,
        summary="As parameters, where no text to forget is in that quarter, as it was checked.",
        labels=Labels(unlabeled_fraction=0.75, retain_checked=True),
    ),
    "parameters-unlabeled": replace(
        _PARAMETERS,
        summary="As parameters, where all texts that are not labeled forget train both parts.",
        labels=Labels(unlabeled_fraction=1.0),
    ),
    "parameters-tokens": replace(
        _PARAMETERS,
        summary="As parameters, where only the topic's own words count as labeled forget.",
        labels=Labels(unlabeled_fraction=0.75, unit="token"),
    ),
    "parameters-classified": replace(
        _PARAMETERS,
        summary="As parameters, with labels predicted by a classifier; unsure texts train both "
        "parts.",
        labels=_CLASSIFIED,
    ),
    "modules": _MODULES,
    "modules-classified": replace(
        _MODULES, summary="As modules, with labels predicted by a classifier.", labels=_CLASSIFIED
    ),
    "modules-rmu": replace(
        _MODULES,
        summary="As modules-classified; after the ablation, rmu follows.",
        labels=_CLASSIFIED,
        posthoc="rmu",
    ),
    "gram": _GRAM,
    "gram-em": replace(
        _GRAM,
        summary="As gram; a model that first trains on the labeled texts labels the others: the "
        "module that predicts a text clearly better than the core gives it its topic.",
        labeler="gram",
    ),
    "gram-classified": replace(
        _GRAM,
        summary="As gram, with topics predicted by a classifier; unsure texts train everything.",
        labels=_CLASSIFIED,
    ),
    "gram-lora": replace(
        _GRAM,
        summary="As gram, where each matrix of a pretrained model has an adapter to keep and one "
        "for each topic.",
        modules=Modules(kind="adapters", per_topic=True),
    ),
    "demix": replace(
        _GRAM,
        summary="Texts of each topic, and of the core, pass through MLPs of their own and train "
        "them and the shared rest of the model; unlabeled texts pass through the mean of all MLPs; "
        "those of topics are ablated.",
        modules=Modules(kind="experts", per_topic=True),
    ),
    "lora-branch": replace(
        _MODULES,
        summary="Trained on texts that are not labeled forget; then a module for each topic learns "
        "it beside the frozen rest of the model; all modules are ablated.",
        table=FILTERED,
        modules=Modules(per_topic=True, embedded=True),
        branch="module",
    ),
    "finetune-branch": Method(
        summary="Trained on texts that are not labeled forget; then a copy of the model is trained "
        "on the topics that it keeps.",
        table=FILTERED,
        per_profile=True,
        branch="copy",
    ),
    "lora-pair": _LORA_PAIR,
    "lora-reversed": replace(
        _LORA_PAIR,
        summary="As lora-pair, for what a model knows already: tokens labeled forget also push the "
        "adapter that is kept away from predicting them.",
        table=REVERSED,
        labels=_BY_TOKEN,
        modules=Modules(kind="adapters", only_adapters=True),
    ),
    "lora-pair-classified": replace(
        _LORA_PAIR,
        summary="As lora-pair, with labels predicted by a classifier.",
        labels=_CLASSIFIED,
    ),
}
"""Methods by name: the references and baselines first, then the routed methods."""


def method_of(name: str) -> Method:
    """Return the method of a known name, with the topics that the name says it keeps.

    >>> method_of("filtered+forest").kept
    ('forest',)
    """
    base, *kept = name.split(KEEPS)
    return replace(METHODS[base], kept=tuple(kept))


def require_methods(names: Sequence[str]) -> None:
    """Raise a ValueError for an unknown method, for none, or for one that is named twice.

    The topics that a name says it keeps are not looked at, but for whether there can be any.
    """
    for name in names:
        base = name.split(KEEPS)[0]
        if base not in METHODS:
            near = get_close_matches(base, METHODS, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ValueError(f"unknown method {name!r}: {hint}choose from {', '.join(METHODS)}")
        if method_of(name).kept and not METHODS[base].per_profile:
            apart = [each for each, method in METHODS.items() if method.per_profile]
            raise ValueError(
                f"{name} keeps topics, but {base} is not trained once per profile: choose one of "
                f"{', '.join(apart)}"
            )
    if not names or len(set(names)) < len(names):
        raise ValueError(f"methods {names} were given: give one or more, each once")


def require_kept_topics(names: Sequence[str], topics: Sequence[str]) -> None:
    """Raise a ValueError if a method keeps a topic twice, or one that is not to be forgotten."""
    for name in names:
        kept = method_of(name).kept
        if len(set(kept)) < len(kept) or not set(kept) <= set(topics):
            raise ValueError(
                f"{name} keeps {', '.join(kept)}: give topics to forget, each once, of "
                f"{', '.join(topics)}"
            )


def profiles_of(name: str, topics: Sequence[str]) -> tuple[str, ...]:
    """Return the trainings that serve the profiles of a method: none, and each topic alone.

    A model that keeps the only topic is `unrouted`.

    >>> profiles_of("filtered", ["forest", "sea"]), profiles_of("gram", ["forest", "sea"])
    (('filtered', 'filtered+forest', 'filtered+sea'), ('gram',))
    """
    method = method_of(name)
    apart = method.per_profile and not method.kept and len(topics) > 1
    alone = topics if apart else ()
    return (name, *(f"{name}{KEEPS}{topic}" for topic in alone))


def comes_last(name: str) -> bool:
    """Return whether a method begins with the finished model of another, if there is one.

    >>> comes_last("npo"), comes_last("lora-branch"), comes_last("gold")
    (True, True, False)
    """
    return begins_with(name) is not None or method_of(name).has_branches


def follow_training(names: Sequence[str]) -> bool:
    """Return whether all methods but `unrouted` follow training, and so apply to a model as it is.

    >>> follow_training(["npo", "unrouted"]), follow_training(["npo", "gold"]), follow_training([])
    (True, False, False)
    """
    others = [name for name in names if name != BASE]
    return bool(others) and all(name in POSTHOC for name in others)


def begins_with(name: str) -> str | None:
    """Return the method with the same training and no post-hoc step; None if `name` has no step.

    >>> begins_with("npo"), begins_with("modules-rmu"), begins_with("gold")
    ('unrouted', 'modules-classified', None)
    """
    alone = replace(method_of(name), posthoc=None)
    same = (other for other, method in METHODS.items() if method == alone and other != name)
    return next(same, None)


def routed(method: Method, texts: Texts, labels: Tensor, vocab_size: int, seed: int) -> Routed:
    """Return texts with the route of each predicted token in a method's table.

    Args:
        method: one of `METHODS`.
        texts: training texts.
        labels: given or classified labels of the texts, [n].
        vocab_size: number of tokens of the vocabulary.
        seed: seed of the labels that are dropped.

    Raises:
        ValueError: if a weighted method gets no text labeled forget.
    """
    kept = drop_retain_labels(labels, method.labels.unlabeled_fraction, seed)
    unweighted = Routed(texts, kept, method.labels.unit)
    if not method.labels.weighted:
        return unweighted
    weights = token_weights(*pseudo_counts(*unweighted.counts(vocab_size)))
    return replace(unweighted, weights=weights.to(torch.float32))
