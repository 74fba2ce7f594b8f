"""The route tables of models with one removable module per topic, and the routes of their texts.

Gradient-routed auxiliary modules (GRAM: Roland et al. 2026, "Modular Pretraining Enables Access
Control") in mixed batches: a text of a topic passes through the core and the module of its topic
and teaches that module, and the core with probability `core_learns`; a text of the core teaches the
core, and with probability `core_robustness` also one random module through which it passes; an
unlabeled text passes through all modules and teaches everything. Modules that a text does not
pass through are not taught by it, and each part has its own optimizer state and clipping
(`lm.training.loop`).

DEMix layers (Gururangan et al. 2021, arXiv 2108.05036) are the baseline without a shared core: each
topic, and the core as one more of them, has an MLP of its own in each layer (`expert_table`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lm.models.shapes import CORE, ORIGINAL_PARAMETERS, mask_of, parameters_of
from lm.training.route_tables import FORGET, LABELS, RETAIN, complete
from oversight.routing import RouteTable
from oversight.runs.settings import UNIT, require_number, require_numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class GramConfig:
    """Settings of gram and its variants (Roland et al. 2026).

    The defaults are those of the paper's models of Simple Stories, 0.5 and 0.2 those of its
    realistic setting; it found 0.3 to 0.5 and 0.2 to 0.5 to do well. There, core and modules with
    all labels match filtering on what is kept and removed; with half of the labels and 400M
    parameters, the compute ratio of removed topics was 0.60 where that of filtering was 0.85, and
    that of the core 0.96.

    Raises:
        ValueError: if a probability is out of its range.
    """

    core_learns: float = 0.3
    """Probability that a text labeled with a topic also teaches the core (the paper's p_as)."""
    core_robustness: float = 0.5
    """Probability that a text labeled retain passes through one random module, and teaches it (the
    paper's p_cr)."""
    silence: float = 0.0
    """Weight of a penalty on what modules would write about texts that do not pass through them.
    Its gradient reaches only the modules, which then do not disturb each other when several are on.
    The paper has no such penalty; 3 is the weight of the preset profiles."""

    def __post_init__(self) -> None:
        for name in ("core_learns", "core_robustness"):
            require_number(name, getattr(self, name), UNIT)
        require_numbers(self, "silence", least=0)


def profile_table(topics: Sequence[str]) -> RouteTable:
    """Return the table of models that have one module for each topic, named after it.

    The routes are `retain`, `unlabeled`, then those of the topics in their order: `forest` teaches
    the module alone, `forest+core` the core as well, and `retain+forest` is text of the core that
    passes through the module. So label `FORGET + k` is the first route of topic k.

    Raises:
        ValueError: if there is no topic, one is given twice, or one has the name of a label.

    >>> profile_table(["forest", "sea"]).as_dict()["forest"]["sea_mask"]
    0.0
    """
    _require_topics(topics)
    alone = {topic: _only(topics, topic) for topic in topics}
    taught = {topic: {**row, ORIGINAL_PARAMETERS: 0.0} for topic, row in alone.items()}
    rows: dict[str, dict[str, float]] = {"retain": _only(topics), "unlabeled": {}, **taught}
    rows |= {f"{topic}+core": row for topic, row in alone.items()}
    rows |= {f"retain+{topic}": row for topic, row in alone.items()}
    return complete(rows, tuple(topics))


def expert_table(topics: Sequence[str]) -> RouteTable:
    """Return the table of models whose MLPs are experts: one of the core, and one for each topic.

    A text labeled with a topic, or retain, passes through the expert of that topic, or of the core,
    instead of the others and teaches it. An unlabeled text passes through the mean of all experts
    and teaches all. Attention and embeddings, the original parameters, learn from every text. A
    label is a route: `retain`, `unlabeled`, then the topics in their order.

    In the paper a text passes through the expert of its domain alone, which its label names in
    training; its eight domains have labels throughout. The authors' code (kernelmachine/demix,
    `--untie-parameters feedforward`) gives each domain its own feed-forward matrices in all layers,
    as here, and shares everything else. It trains each domain on processors of its own, so that
    domains have the same number of tokens; here they have as many as there are texts.

    The rule for several domains differs. The paper mixes the next-token distributions of the
    experts, each of which runs as a model of its own, by the posterior of the domain given the text
    so far. Here the experts that are on are averaged in each layer (`lm.models.layers.ExpertMLP`),
    so that a profile is one plain model with one forward pass. This loses that experts of other
    domains count little: with n topics on, the expert of a text counts 1 / (n + 1), and experts of
    labeled texts were never trained together. A profile with topics may be worse at the core, and
    at its topics, than the expert of the text alone. Figures of the paper are not to be expected.

    Raises:
        ValueError: as `profile_table`.

    >>> rows = expert_table(["forest", "sea"]).as_dict()
    >>> [name for name, weight in rows["forest"].items() if not weight]
    ['core_parameters', 'sea_parameters', 'core_mask', 'sea_mask']
    """
    _require_topics(topics)
    experts = (CORE, *topics)
    topical = {topic: _only(experts, topic) for topic in topics}
    return complete({"retain": _only(experts, CORE), "unlabeled": {}, **topical}, experts)


def _only(topics: Sequence[str], on: str | None = None) -> dict[str, float]:
    """Return the weights of a route that passes through no module, or through one."""
    off = [topic for topic in topics if topic != on]
    return {target: 0.0 for topic in off for target in (mask_of(topic), parameters_of(topic))}


def _require_topics(topics: Sequence[str]) -> None:
    if not topics or len(set(topics)) < len(topics) or set(topics) & {*LABELS[:FORGET], CORE}:
        raise ValueError(
            f"modules of the topics {', '.join(topics) or 'none'} were asked for: give one topic "
            "or more, each once, and none named retain, unlabeled or core"
        )


STREAM = 4
"""Separates the random stream of routes from those of texts and labels."""


def draw_routes(labels: Tensor, topics: int, config: GramConfig, seed: int) -> Tensor:
    """Return the route of each text in a `profile_table`, [n].

    The route of a text depends on its label, the seed and its place alone.

    Args:
        labels: labels of the texts, [n]: `RETAIN`, `UNLABELED`, or `FORGET` + k for topic k.
        topics: number of topics.
        config: probabilities.
        seed: seed of the draws.

    Raises:
        ValueError: if a label is of no topic.
    """
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < FORGET + topics:
        raise ValueError(
            f"labels from {int(labels.min())} to {int(labels.max())} were given for {topics} "
            f"topics: give labels from 0 to {FORGET + topics - 1}"
        )
    drawn_n3 = torch.from_numpy(np.random.default_rng([seed, STREAM]).random((len(labels), 3)))
    also_core = (labels >= FORGET) & (drawn_n3[:, 0] < config.core_learns)
    through = (labels == RETAIN) & (drawn_n3[:, 1] < config.core_robustness)
    module = (drawn_n3[:, 2] * topics).long()
    routes = torch.where(also_core, labels + topics, labels)
    return torch.where(through, FORGET + 2 * topics + module, routes)
