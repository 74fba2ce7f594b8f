"""Simple negative preference optimization (Fan et al. 2024, arXiv 2410.07163).

NPO without a model to compare with: likelihoods are per token instead, so that long stories do not
pull more than short ones. The paper's code has gamma 0, and on TOFU beta 2.5 with the forget loss
weighed 0.1375 (forget05) or beta 4.5 with 0.125 (forget10): a retain weight of 7.3 or 8. With other
gammas it subtracts beta times gamma, where the paper, as here, has gamma. At beta 2.5 the pull is
gone at two nats a token, and `nano` kept a third of the facts and more; at beta 1, which is what
open-unlearning has unless told, the defaults brought them to chance at 1% more retain loss.
"""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from lm.model.language_model import LanguageModel
from lm.posthoc.descent import batches_of, trained_copy
from lm.posthoc.likelihood import Stories, read
from lm.task import Texts
from lm.training.batches import Batch


@dataclass(frozen=True, kw_only=True, slots=True)
class SimNPOConfig:
    """How to prefer otherwise, without a reference.

    Raises:
        ValueError: if a number is out of its range.
    """

    beta: float = 1.0
    """how soon the pull fades as tokens get unlikely"""
    gamma: float = 0.0
    """margin by which they are to get unlikely"""
    retain_weight: float = 2.0
    """weight of the loss on the others"""
    steps: int = 100
    """steps of AdamW"""
    learning_rate: float = 1e-3
    """its step size"""

    def __post_init__(self) -> None:
        positive = (self.beta, self.retain_weight, self.learning_rate)
        if self.steps < 0 or not self.gamma >= 0 or not all(each > 0 for each in positive):
            raise ValueError(f"{self} was given: all must be positive, gamma and steps may be 0")


def simnpo_loss(forget: Stories, beta: float, gamma: float) -> Tensor:
    """Return -(2 / beta) mean log sigmoid(-(beta / tokens) log p - gamma), p that of a story.

    Args:
        forget: how likely stories are.
        beta: positive.
        gamma: not negative.

    >>> import torch
    >>> simnpo_loss(Stories(torch.tensor([4.0]), torch.tensor([2])), beta=0.5, gamma=1.0)
    tensor(2.7726)
    """
    per_token_b = forget.nats_b / forget.tokens_b
    return 2 / beta * F.softplus(gamma - beta * per_token_b).mean()


def simnpo(
    model: LanguageModel,
    forget: Texts,
    others: Texts,
    config: SimNPOConfig,
    batch_size: int,
    seed: int,
) -> LanguageModel:
    """Return a copy of a model, trained to find the tokens of stories to forget unlikely.

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
        return simnpo_loss(read(trained, batch), config.beta, config.gamma)

    return trained_copy(model, loss, batches_of(forget, others, batch_size, seed), config)
