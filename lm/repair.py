"""Repair: a few steps on what is not labeled forget, since a cut hurts what stays as well.

Cloud et al. 2024 (arXiv 2410.04332, appendix C) fine-tune 40 steps so, and keep the best. All
methods are repaired alike, so that none is ahead for having been trained longer.
"""

from dataclasses import dataclass

import torch

from lm.data.task import StoryRows, Texts
from lm.evaluation.likelihoods import losses
from lm.labels import Routed
from lm.models.language_model import LanguageModel
from lm.training.batches import Batch, Rows
from lm.training.loop import LoopConfig, make_optimizer, update
from lm.training.route_tables import RETAIN, UNROUTED


@dataclass(frozen=True, kw_only=True, slots=True)
class RepairConfig:
    """How to repair.

    Raises:
        ValueError: if a number is out of its range.
    """

    steps: int = 40
    """batches to train on"""
    learning_rate: float = 5e-4
    """step size of AdamW"""
    every: int = 10
    """steps between looks at the loss on other stories"""
    stories: int = 128
    """such stories, those labeled forget included, which are not read"""

    def __post_init__(self) -> None:
        if self.steps < 0 or self.learning_rate <= 0 or min(self.every, self.stories) < 1:
            raise ValueError(
                f"steps {self.steps}, learning_rate {self.learning_rate}, every {self.every}, "
                f"stories {self.stories} were given: all must be positive, steps may be 0"
            )


def repair(
    model: LanguageModel,
    kept: Texts,
    held: StoryRows,
    config: RepairConfig,
    batch_size: int,
    seed: int,
) -> LanguageModel:
    """Return a copy of a model trained on, at the step that had the least loss on other stories.

    Step 0 is among them: a model that training only harms comes back as it was.

    Args:
        model: what to repair, on the device where it is; it stays as it is.
        kept: stories to train on, none labeled forget.
        held: other stories, none labeled forget.
        config: how.
        batch_size: stories of a batch.
        seed: of their order.
    """
    repaired = model.copied()
    if not len(kept) or not len(held):
        return repaired
    optimizer = make_optimizer(repaired, LoopConfig(learning_rate=config.learning_rate))
    everything = Routed(kept, torch.full((len(kept),), RETAIN))
    batches = Rows(everything, min(batch_size, len(kept)), seed)
    device = model.device
    best, least = repaired.copied(), losses(repaired, held).loss
    for step in range(config.steps):
        batch = Batch(*(part.to(device) for part in batches(step)))
        update(repaired, UNROUTED.to(device), batch, optimizer, config.learning_rate, 1.0)
        if (step + 1) % config.every == 0 or step + 1 == config.steps:
            loss = losses(repaired, held).loss
            if loss < least:
                best, least = repaired.copied(), loss
    return best
