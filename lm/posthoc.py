"""The steps that all methods after training share: AdamW, on stories to forget and on others.

How likely stories are to a model, in the form that losses of unlearning ask for.

Shape suffixes: b stories.

Gradient difference (Liu et al. 2022, arXiv 2203.12817).

Ascent on stories to forget, descent on others. Both losses are means over tokens, and weigh 1 in
TOFU (Maini et al. 2024, arXiv 2401.06121) and open-unlearning, with a learning rate of 1e-5 for
models of a billion parameters and more. The ascent has no end: with that weight `nano` kept three
quarters of the facts or more, or lost a tenth of its retain loss or more. The defaults are those of
a dozen tried that brought the facts to chance at the least retain loss, 2% more.

Negative preference optimization (Zhang et al. 2024, arXiv 2404.05868).

A story to forget is a dispreferred answer without a preferred one. Its gradient is that of ascent,
times 2 p^beta / (p^beta + p_ref^beta): it fades as the story gets less likely than it was. The
paper's code and open-unlearning have beta 0.1, weigh forget and retain loss alike, and train models
of a billion parameters and more at 1e-5. Weight and learning rate here are those of ten tried that
raised the forget loss of `nano` most at that beta, of those that kept its retain loss within 5%.

Simple negative preference optimization (Fan et al. 2024, arXiv 2410.07163).

NPO without a model to compare with: likelihoods are per token instead, so that long stories do not
pull more than short ones. The paper's code has gamma 0, and on TOFU beta 2.5 with the forget loss
weighed 0.1375 (forget05) or beta 4.5 with 0.125 (forget10): a retain weight of 7.3 or 8. With other
gammas it subtracts beta times gamma, where the paper, as here, has gamma. At beta 2.5 the pull is
gone at two nats a token, and `nano` kept a third of the facts and more; at beta 1, which is what
open-unlearning has unless told, the defaults brought them to chance at 1% more retain loss.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import AdamW

from lm.data.task import Texts
from lm.labels import Routed
from lm.models.language_model import IGNORED, LanguageModel
from lm.training.batches import Batch, Rows
from lm.training.loop import precision
from lm.training.route_tables import RETAIN, UNROUTED
from oversight.routing import routing


class Stories(NamedTuple):
    """What a model makes of the stories of a batch."""

    nats_b: Tensor
    """minus the log-probability of each, its tokens together"""
    tokens_b: Tensor
    """tokens of each"""

    @property
    def mean(self) -> Tensor:
        """The mean loss of a token."""
        return self.nats_b.sum() / self.tokens_b.sum()


def read(model: LanguageModel, batch: Batch) -> Stories:
    """Return how likely the stories of a batch are to a model, which all their tokens teach."""
    device = batch.inputs.device
    with routing(model, UNROUTED.to(device), batch.route), precision(device):
        losses_bt = model.token_losses(batch.inputs, batch.targets)
    tokens_b = (batch.targets != IGNORED).sum(-1).clamp(min=1)
    return Stories(losses_bt.sum(-1), tokens_b)


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
        forget: stories labeled forget.
        others: stories not labeled forget.
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
        forget: stories labeled forget.
        others: stories not labeled forget.
        config: how.
        batch_size: stories of each kind in a step.
        seed: of the order of stories.

    Raises:
        ValueError: if there is no story of one of both kinds, or the loss is not finite.
    """

    def loss(trained: LanguageModel, batch: Batch) -> Tensor:
        return graddiff_loss(read(trained, batch))

    return trained_copy(model, loss, batches_of(forget, others, batch_size, seed), config)


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
        forget: stories labeled forget.
        others: stories not labeled forget.
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
        forget: stories labeled forget.
        others: stories not labeled forget.
        config: how.
        batch_size: stories of each kind in a step.
        seed: of the order of stories.

    Raises:
        ValueError: if there is no story of one of both kinds, or the loss is not finite.
    """

    def loss(trained: LanguageModel, batch: Batch) -> Tensor:
        return simnpo_loss(read(trained, batch), config.beta, config.gamma)

    return trained_copy(model, loss, batches_of(forget, others, batch_size, seed), config)
