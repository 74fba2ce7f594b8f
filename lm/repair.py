"""The repair: a short training on texts to retain, which every method gets after the ablation."""

from dataclasses import dataclass
from typing import Literal

import torch

from lm.data.task import StoryRows, Texts
from lm.evaluation.likelihoods import losses
from lm.labels import Routed
from lm.models.language_model import LanguageModel
from lm.training.batches import Batch, Rows
from lm.training.loop import LoopConfig, make_optimizer, update
from lm.training.route_tables import RETAIN, UNROUTED
from oversight.runs.settings import require_numbers

RepairLabels = Literal["checked", "given"]
"""Labels by which the texts of the repair are chosen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RepairConfig:
    """Settings of the repair of a model after the ablation.

    Raises:
        ValueError: if a number is out of its range.
    """

    steps: int = 40
    """Number of batches to train on."""
    learning_rate: float = 5e-4
    """Learning rate of AdamW."""
    every: int = 10
    """Steps between measurements of the loss on held-out texts; the best step is kept."""
    stories: int = 128
    """Number of held-out texts; those to forget are not used."""
    labels: RepairLabels = "checked"
    """Labels by which its texts are chosen. checked: a user has checked the few that it reads, so
    that none is to be forgotten; given: those of the method, which may miss texts to forget."""

    def __post_init__(self) -> None:
        require_numbers(self, "steps", least=0)
        require_numbers(self, "learning_rate")
        require_numbers(self, "every", "stories", least=1)


def repair(
    model: LanguageModel,
    retain: Texts,
    held_out: StoryRows,
    config: RepairConfig,
    batch_size: int,
    seed: int,
) -> LanguageModel:
    """Return a copy of a model, trained further, at the step of the least held-out loss.

    An ablation also damages abilities that are to be retained. Cloud et al. 2024 (arXiv 2410.04332,
    appendix C) fine-tune for 40 steps and keep the best. Every method gets the same repair, so that
    none gains from longer training. Step 0 counts: if training only raises the loss, the model is
    returned unchanged.

    Texts to forget among those of the repair teach the model again what was removed. So by default
    all of them were checked (`RepairConfig`).

    Args:
        model: a model on any device, which stays unchanged.
        retain: texts to train on.
        held_out: other texts to retain, by which the best step is chosen.
        config: settings of the repair.
        batch_size: number of texts in a batch.
        seed: seed of the order of texts.
    """
    repaired = model.copied()
    if not len(retain) or not len(held_out):
        return repaired
    optimizer = make_optimizer(repaired, LoopConfig(learning_rate=config.learning_rate))
    everything = Routed(retain, torch.full((len(retain),), RETAIN))
    batches = Rows(everything, min(batch_size, len(retain)), seed)
    device = model.device
    best, least = repaired.copied(), losses(repaired, held_out).loss
    for step in range(config.steps):
        batch = Batch(*(part.to(device) for part in batches(step)))
        update(repaired, UNROUTED.to(device), batch, optimizer, config.learning_rate, 1.0)
        if (step + 1) % config.every == 0 or step + 1 == config.steps:
            loss = losses(repaired, held_out).loss
            if loss < least:
                best, least = repaired.copied(), loss
    return best
