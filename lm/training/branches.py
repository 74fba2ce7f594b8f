"""Topics that are taught after the core: routes and texts of a second training.

Branches follow a training on the core alone. A branch of a topic is a module, which learns while
the core is frozen, or a whole copy of the model. A share of the texts rehearses the core. All
modules are trained in the same batches; the gradient of a module comes from the texts of its own
topic, and the core texts that pass through it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lm.models.shapes import ORIGINAL_PARAMETERS
from lm.training.profiles import profile_table
from lm.training.route_tables import FORGET, RETAIN, complete
from oversight.routing import RouteTable
from oversight.runs.settings import UNIT, require_number, require_numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class BranchConfig:
    """Settings of lora-branch and finetune-branch, after FT-LoRA and FT-Full of Roland et al. 2026.

    The paper trains on the core, then an adapter, or a copy, for each capability on its data mixed
    with core data. At 400M parameters and half of the labels its FT-LoRA had a compute ratio of
    0.85 on removed topics, as filtering had; with two adapters summed, which were never trained
    together, that of virology fell from 0.99 to 0.76. It found no difference between adapters and
    small MLPs as modules, and here modules are the added hidden units of gram. The number of steps
    lets each topic be seen about as often as in the default training; no setting was tuned.

    Raises:
        ValueError: if a number is out of its range.
    """

    steps: int = 200
    """Number of batches for each topic."""
    learning_rate: float = 1e-3
    """Learning rate of AdamW after the warm-up."""
    warmup: int = 20
    """Number of steps of linear warm-up."""
    core_share: float = 0.5
    """Share of the texts that are of the core, which rehearse it."""

    def __post_init__(self) -> None:
        require_numbers(self, "steps", "warmup", least=0)
        require_numbers(self, "learning_rate")
        require_number("core_share", self.core_share, UNIT)
        if self.core_share == 1:
            raise ValueError(
                "core_share 1.0 was given: give less, so that there are texts to learn"
            )


def branch_table(topics: Sequence[str]) -> RouteTable:
    """Return the table of `profile_table` in which no route teaches the core.

    >>> branch_table(["forest"]).as_dict()["retain+forest"]["original_parameters"]
    0.0
    """
    rows = profile_table(topics).as_dict()
    return complete(
        {route: {**row, ORIGINAL_PARAMETERS: 0.0} for route, row in rows.items()}, tuple(topics)
    )


STREAM = 6
"""Separates the random stream of rehearsed texts from those of texts, labels and routes."""


def draw_branches(
    labels: Tensor, topics: int, kept: Sequence[int], config: BranchConfig, seed: int
) -> tuple[Tensor, Tensor]:
    """Return the texts that branches learn from, by place, and their routes, [m] each.

    Texts of the core are drawn without replacement, as many as the share asks for if there are
    enough, and each passes through the module of a random topic.

    Args:
        labels: labels of the texts, [n]: `FORGET` + k for topic k.
        topics: number of topics of the table.
        kept: the topics that are learned.
        config: the share of core texts.
        seed: seed of the draws.
    """
    rng = np.random.default_rng([seed, STREAM])
    learned = torch.isin(labels, FORGET + torch.tensor(kept, dtype=torch.int64)).nonzero()[:, 0]
    core = (labels == RETAIN).nonzero()[:, 0]
    count = round(len(learned) * config.core_share / (1 - config.core_share))
    rehearsed = core[torch.from_numpy(rng.permutation(len(core))[:count])]
    module = torch.from_numpy(rng.choice(np.asarray(kept, dtype=np.int64), size=len(rehearsed)))
    routes = torch.cat([labels[learned], FORGET + 2 * topics + module])
    return torch.cat([learned, rehearsed]), routes
