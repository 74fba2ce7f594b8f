"""The steps that all methods after training share: AdamW, on stories to forget and on others."""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.optim import AdamW

from lm.model.language_model import LanguageModel
from lm.posthoc.likelihood import read
from lm.routed import Routed
from lm.task import Texts
from lm.training.batches import Batch, Rows
from lm.training.routes import RETAIN

Objective = Callable[[Batch, Batch], Tensor]
"""The loss on a batch of stories to forget and on one of others."""


class Steps(Protocol):
    """How many steps to take, and how long they are."""

    @property
    def steps(self) -> int:
        """Steps of AdamW."""

    @property
    def learning_rate(self) -> float:
        """Its step size."""


class Retaining(Steps, Protocol):
    """How to descend, and how much other stories weigh."""

    @property
    def retain_weight(self) -> float:
        """Weight of their loss."""


ForgetLoss = Callable[[LanguageModel, Batch], Tensor]
"""What is to be lowered on stories to forget, by a model that trains."""


def batches_of(forget: Texts, others: Texts, batch_size: int, seed: int) -> tuple[Rows, Rows]:
    """Return batches of stories to forget and of others, which may teach everything.

    Args:
        forget: stories labelled forget.
        others: stories not labelled forget.
        batch_size: stories of each kind in a step; fewer if there are not so many.
        seed: of their orders.

    Raises:
        ValueError: if there is no story of one of both kinds.
    """
    if not len(forget) or not len(others):
        raise ValueError(
            f"{len(forget)} stories to forget and {len(others)} others were given: give 1 or more "
            "of both"
        )
    first, second = (
        Rows(Routed(texts, torch.full((len(texts),), RETAIN)), min(batch_size, len(texts)), seed)
        for texts in (forget, others)
    )
    return first, second


def descend(
    model: LanguageModel, objective: Objective, batches: tuple[Rows, Rows], config: Steps
) -> None:
    """Train what is not frozen of a model, in place.

    Args:
        model: on the device where it is.
        objective: what to lower; it runs the model inside `routing`.
        batches: of stories to forget, and of others.
        config: how many steps, and how long.

    Raises:
        ValueError: if a loss or a weight is not finite.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = AdamW(trained, config.learning_rate, weight_decay=0.0)
    for step in range(config.steps):
        forget, others = (
            Batch(*(part.to(model.device) for part in rows(step))) for rows in batches
        )
        loss = objective(forget, others)
        _require_finite([loss], "the loss", step, config)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    _require_finite(trained, "a weight", config.steps, config)


def trained_copy(
    model: LanguageModel, loss: ForgetLoss, batches: tuple[Rows, Rows], config: Retaining
) -> LanguageModel:
    """Return a copy of a model, all of it trained on a forget loss and on the loss of others.

    Args:
        model: on the device where it is; it stays as it is.
        loss: what is to be lowered on stories to forget.
        batches: of stories to forget, and of others.
        config: how.

    Raises:
        ValueError: if a loss or a weight is not finite.
    """
    trained = model.copied()

    def objective(forget: Batch, others: Batch) -> Tensor:
        return loss(trained, forget) + config.retain_weight * read(trained, others).mean

    descend(trained, objective, batches, config)
    return trained


def _require_finite(values: Sequence[Tensor], what: str, step: int, config: Steps) -> None:
    if not all(bool(value.isfinite().all()) for value in values):
        raise ValueError(
            f"{what} is not finite after {step} steps at learning rate {config.learning_rate:g}: "
            "lower the learning rate"
        )
