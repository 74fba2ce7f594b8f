"""Misdirection moves what it must, where it must, and nothing else."""

import pytest
import torch

from lm.models.language_model import LanguageModel
from lm.rmu import RMUConfig, direction, rmu
from tests.lm.attacks.row_factories import same, stories, weights
from tests.lm.models.gpt_factories import SMALL, random_gpt

CONFIG = RMUConfig(layer=1, coefficient=5.0, retain_weight=1.0, steps=60, learning_rate=3e-2)


def test_only_what_mlps_write_by_up_to_the_layer_is_trained() -> None:
    model = random_gpt(SMALL)
    before = weights(model)
    steered = rmu(model, stories(1), stories(2), RMUConfig(layer=0, steps=3), 2, seed=0)
    assert same(weights(model), before)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(parameter.requires_grad for parameter in steered.parameters())
    moved = {name for name, value in weights(steered).items() if not value.equal(before[name])}
    assert moved == {"blocks.0.mlp.original.down.weight"}


def test_forget_activations_turn_to_the_direction_and_others_stay() -> None:
    model, forget, others = random_gpt(SMALL), stories(1), stories(2)
    towards = 5.0 * direction(model, 0)

    def distances(steered: LanguageModel) -> tuple[float, float]:
        real = [rows.targets >= 0 for rows in (forget, others)]
        with torch.no_grad():
            away = (steered.residual(forget.inputs, 1) - towards)[real[0]].square().mean()
            drift = steered.residual(others.inputs, 1) - model.residual(others.inputs, 1)
        return float(away), float(drift[real[1]].square().mean())

    before, _ = distances(model)
    loose, drifted = distances(rmu(model, forget, others, CONFIG, 3, seed=0))
    assert loose < before / 2
    held = RMUConfig(layer=1, coefficient=5.0, retain_weight=1e4, steps=60, learning_rate=3e-2)
    assert distances(rmu(model, forget, others, held, 3, seed=0))[1] < drifted


def test_the_direction_is_a_unit_vector_without_negative_parts() -> None:
    found = direction(random_gpt(SMALL), 3)
    assert float(found.norm()) == pytest.approx(1.0)
    assert bool((found >= 0).all())
    assert not torch.equal(found, direction(random_gpt(SMALL), 4))


def test_a_layer_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="layer 2 was given: give a layer below 2"):
        rmu(random_gpt(SMALL), stories(1), stories(2), RMUConfig(layer=2), 2, 0)
    with pytest.raises(ValueError, match="all must be positive"):
        RMUConfig(coefficient=0)
