"""Gradient difference (Liu et al. 2022, arXiv 2203.12817).

Ascent on stories to forget, descent on others. Both losses are means over tokens, and weigh 1 in
TOFU (Maini et al. 2024, arXiv 2401.06121) and open-unlearning, with a learning rate of 1e-5 for
models of a billion parameters and more. The ascent has no end: with that weight `nano` kept three
quarters of the facts or more, or lost a tenth of its retain loss or more. The defaults are those of
a dozen tried that brought the facts to chance at the least retain loss, 2% more.
"""

from dataclasses import dataclass

from torch import Tensor

from lm.model.language_model import LanguageModel
from lm.posthoc.descent import batches_of, trained_copy
from lm.posthoc.likelihood import Stories, read
from lm.task import Texts
from lm.training.batches import Batch


@dataclass(frozen=True, kw_only=True, slots=True)
class GradDiffConfig:
    """How to ascend.

    Raises:
        ValueError: if a number is out of its range.
    """

    retain_weight: float = 20.0
    """weight of the loss on the others, where that of the ascent is 1"""
    steps: int = 100
    """steps of AdamW"""
    learning_rate: float = 1e-3
    """its step size"""

    def __post_init__(self) -> None:
        positive = (self.retain_weight, self.learning_rate)
        if self.steps < 0 or not all(each > 0 for each in positive):
            raise ValueError(f"{self} was given: all must be positive, steps may be 0")


def graddiff_loss(forget: Stories) -> Tensor:
    """Return minus the mean loss of a token.

    >>> import torch
    >>> graddiff_loss(Stories(torch.tensor([2.0, 10.0]), torch.tensor([1, 5])))
    tensor(-2.)
    """
    return -forget.mean


def graddiff(
    model: LanguageModel,
    forget: Texts,
    others: Texts,
    config: GradDiffConfig,
    batch_size: int,
    seed: int,
) -> LanguageModel:
    """Return a copy of a model, trained to be bad at stories to forget and good at others.

    Args:
        model: on the device where it is; it stays as it is.
        forget: stories labelled forget.
        others: stories not labelled forget.
        config: how.
        batch_size: stories of each kind in a step.
        seed: of the order of stories.

    Raises:
        ValueError: if there is no story of one of both kinds, or the loss is not finite.
    """

    def loss(trained: LanguageModel, batch: Batch) -> Tensor:
        return graddiff_loss(read(trained, batch))

    return trained_copy(model, loss, batches_of(forget, others, batch_size, seed), config)
