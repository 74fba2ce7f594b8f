"""Negative preference optimization (Zhang et al. 2024, arXiv 2404.05868).

A story to forget is a dispreferred answer without a preferred one. Its gradient is that of ascent,
times 2 p^beta / (p^beta + p_ref^beta): it fades as the story gets less likely than it was. The
paper's code and open-unlearning have beta 0.1, weigh forget and retain loss alike, and train models
of a billion parameters and more at 1e-5. Weight and learning rate here are those of ten tried that
raised the forget loss of `nano` most at that beta, of those that kept its retain loss within 5%.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lm.model.language_model import LanguageModel
from lm.posthoc.descent import batches_of, trained_copy
from lm.posthoc.likelihood import read
from lm.task import Texts
from lm.training.batches import Batch


@dataclass(frozen=True, kw_only=True, slots=True)
class NPOConfig:
    """How to prefer otherwise.

    Raises:
        ValueError: if a number is out of its range.
    """

    beta: float = 0.1
    """how soon the pull fades as stories get less likely; towards 0 it never does"""
    retain_weight: float = 3.0
    """weight of the loss on the others"""
    steps: int = 100
    """steps of AdamW"""
    learning_rate: float = 1e-3
    """its step size"""

    def __post_init__(self) -> None:
        positive = (self.beta, self.retain_weight, self.learning_rate)
        if self.steps < 0 or not all(each > 0 for each in positive):
            raise ValueError(f"{self} was given: all must be positive, steps may be 0")


def npo_loss(nats_b: Tensor, before_b: Tensor, beta: float) -> Tensor:
    """Return (2 / beta) mean log(1 + (p / p_ref)^beta).

    Args:
        nats_b: minus the log-probability p of each story, [b].
        before_b: the same of the model as it was, p_ref.
        beta: positive.

    >>> npo_loss(torch.tensor([3.0, 5.0]), torch.tensor([3.0, 5.0]), beta=2.0)
    tensor(0.6931)
    """
    return 2 / beta * F.softplus(beta * (before_b - nats_b)).mean()


def npo(
    model: LanguageModel,
    forget: Texts,
    others: Texts,
    config: NPOConfig,
    batch_size: int,
    seed: int,
) -> LanguageModel:
    """Return a copy of a model, trained to find stories to forget less likely than it did.

    Args:
        model: on the device where it is; it stays as it is, and is what likelihoods are beside.
        forget: stories labelled forget.
        others: stories not labelled forget.
        config: how.
        batch_size: stories of each kind in a step.
        seed: of the order of stories.

    Raises:
        ValueError: if there is no story of one of both kinds, or the loss is not finite.
    """

    def loss(trained: LanguageModel, batch: Batch) -> Tensor:
        with torch.no_grad():
            before = read(model, batch)
        return npo_loss(read(trained, batch).nats_b, before.nats_b, config.beta)

    return trained_copy(model, loss, batches_of(forget, others, batch_size, seed), config)
