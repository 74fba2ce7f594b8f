"""Repair keeps the step that is best on other stories, and never the stories to forget."""

import pytest
import torch

from lm.corpus import StoryDistribution
from lm.evaluation.likelihoods import losses
from lm.repair import RepairConfig, repair
from tests.lm.attacks.row_factories import same, weights
from tests.lm.evaluation.factories import random_model, tiny_task


def test_repair_lowers_the_loss_on_other_stories_and_leaves_the_model() -> None:
    task = tiny_task()
    model = random_model(task, torch.float32)
    kept, held = (
        task.sample(8, [seed], StoryDistribution(topics=task.splits.retain)) for seed in (1, 2)
    )
    before = weights(model)
    config = RepairConfig(steps=6, every=2, learning_rate=1e-2)
    repaired = repair(model, kept, held, config, batch_size=4, seed=0)
    assert same(weights(model), before)
    assert losses(repaired, held).loss < losses(model, held).loss
    assert same(weights(repaired), weights(repair(model, kept, held, config, 4, seed=0)))


@pytest.mark.parametrize("taken", [0, 8])
def test_a_model_that_training_harms_or_cannot_reach_comes_back_as_it_was(taken: int) -> None:
    task = tiny_task()
    model = random_model(task, torch.float32)
    rows = task.sample(8, [1])
    config = RepairConfig(steps=4, every=4, learning_rate=1.0)
    kept = rows.take(torch.arange(8) < taken)
    assert same(weights(repair(model, kept, rows, config, 4, 0)), weights(model))


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        RepairConfig(every=0)
