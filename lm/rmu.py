"""Representation misdirection for unlearning (Li et al. 2024, arXiv 2403.03218).

At one layer, activations of forget stories are steered to a random direction, the same for all,
and those of other stories are held where the model had them. Only the matrices by which MLPs write
are trained, those of that layer and of the two before it.

The paper steers a model of 7 billion parameters at layer 7 of 32 with coefficient 6.5 and weight
1200; Shilov et al. 2025 (arXiv 2512.05648) steer small GPTs with coefficient 20, weight 100 and 240
steps. Here activations have norms of about 70, which 20 hardly moves: the defaults are those of a
dozen tried that raised the forget loss of `nano` most and left its retain loss as it was.

In a deeper model steer at about a fifth of its layers, as the paper does. The coefficient is in the
units of the activations there: four times their norm, here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lm.data.task import Texts
from lm.models.language_model import LanguageModel
from lm.posthoc import batches_of, descend
from lm.training.batches import Batch
from lm.training.route_tables import RETAIN, UNROUTED
from oversight.routing import routing


@dataclass(frozen=True, kw_only=True, slots=True)
class RMUConfig:
    """How to misdirect.

    Raises:
        ValueError: if a number is out of its range.
    """

    layer: int = 2
    """where activations are steered; its MLP and those of the two layers before it train"""
    coefficient: float = 300.0
    """norm of what forget activations are steered to"""
    retain_weight: float = 100.0
    """weight of keeping the others"""
    steps: int = 240
    """steps of AdamW"""
    learning_rate: float = 3e-3
    """its step size"""

    def __post_init__(self) -> None:
        positive = (self.coefficient, self.retain_weight, self.learning_rate)
        if min(self.layer, self.steps) < 0 or not all(each > 0 for each in positive):
            raise ValueError(f"{self} was given: all must be positive, layer and steps may be 0")


def rmu(
    model: LanguageModel,
    forget: Texts,
    others: Texts,
    config: RMUConfig,
    batch_size: int,
    seed: int,
) -> LanguageModel:
    """Return a copy of a model, misdirected on stories to forget.

    Args:
        model: on the device where it is; it stays as it is.
        forget: stories labeled forget.
        others: stories not labeled forget.
        config: how.
        batch_size: stories of each kind in a step.
        seed: of the direction, and of the order of stories.

    Raises:
        ValueError: if there is no story of one of both kinds, no such layer, or the loss is not
            finite.
    """
    batches, count = batches_of(forget, others, batch_size, seed), len(model.layers())
    if config.layer >= count:
        raise ValueError(f"layer {config.layer} was given: give a layer below {count}")
    steered = model.copied()
    _freeze(steered, config.layer)
    target = config.coefficient * direction(model, seed)

    def objective(*pair: Batch) -> Tensor:
        away, drift = distances(steered, model, config.layer, target, pair)
        return away + config.retain_weight * drift

    descend(steered, objective, batches, config)
    steered.requires_grad_(True)
    return steered


def distances(
    model: LanguageModel,
    frozen: LanguageModel,
    layer: int,
    target: Tensor,
    batches: Sequence[Batch],
) -> tuple[Tensor, Tensor]:
    """Return how far forget activations are from their target, and others from where they were.

    Both are mean squares over real tokens and features.

    Args:
        model: the steered one.
        frozen: as it was.
        layer: whose activations they are.
        target: of forget activations, [d].
        batches: one of forget stories, then one of others, on the model's device.
    """
    inputs_f, inputs_r = (batch.inputs for batch in batches)
    real_f, real_r = (batch.targets >= 0 for batch in batches)
    with torch.no_grad():
        kept = activations(frozen, inputs_r, layer)
    away = (activations(model, inputs_f, layer) - target)[real_f].square().mean()
    drift = (activations(model, inputs_r, layer) - kept)[real_r].square().mean()
    return away, drift


def activations(model: LanguageModel, tokens_bt: Tensor, layer: int) -> Tensor:
    """Return what a layer leaves in the residual stream, [B, T, D], which all tokens teach."""
    route = torch.full_like(tokens_bt, RETAIN)
    with routing(model, UNROUTED.to(tokens_bt.device), route):
        return model.residual(tokens_bt, layer)


def direction(model: LanguageModel, seed: int) -> Tensor:
    """Return the unit vector to steer to, [d], drawn as the paper does: no feature is negative."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(model.width, generator=generator).to(model.down_proj(0))
    unit: Tensor = drawn / drawn.norm()
    return unit


def _freeze(model: LanguageModel, layer: int) -> None:
    """Freeze all but the matrices by which the MLPs up to a layer write, three at most."""
    model.requires_grad_(False)
    for each in range(max(0, layer - 2), layer + 1):
        model.down_proj(each).requires_grad_(True)
