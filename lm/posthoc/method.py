"""What methods after training share: their settings, batches, optimizer and likelihoods.

All methods take a few steps, each on a batch of texts labeled forget and a batch of others.

Shape suffixes: b texts.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.optim import AdamW

from lm.data.task import Texts
from lm.labels import Routed, Unit
from lm.models.language_model import IGNORED, LanguageModel
from lm.training.batches import Batch, Rows
from lm.training.loop import precision
from lm.training.route_tables import FORGET, RETAIN, UNROUTED
from oversight.routing import routing
from oversight.runs.settings import require_numbers

Objective = Callable[[Batch, Batch], Tensor]
"""The loss on a batch of texts labeled forget and on a batch of others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PostHoc(ABC):
    """A method that changes a trained model, with its settings.

    Raises:
        ValueError: if a setting is negative, or 0 and not one of `may_be_zero`.
    """

    name: ClassVar[str]
    """The name of the method on the command line."""
    summary: ClassVar[str]
    """The sentence that describes the method on model cards."""
    may_be_zero: ClassVar[tuple[str, ...]] = ("steps",)

    retain_weight: float
    """Weight of the loss on texts that are not labeled forget."""
    steps: int = 100
    """Number of steps of AdamW."""
    learning_rate: float = 1e-3
    """Learning rate of AdamW."""

    def __post_init__(self) -> None:
        for setting in fields(self):
            least = 0 if setting.name in self.may_be_zero else None
            require_numbers(self, setting.name, least=least)

    @property
    def total_steps(self) -> int:
        """The number of steps in all stages of the method."""
        return self.steps

    def require_fit(self, layers: int, features: int) -> None:  # noqa: B027 (most fit all models)
        """Raise a ValueError if the settings do not fit a model.

        Args:
            layers: number of layers of the model.
            features: the smaller side of its down projections, usually the width of the model.
        """

    @abstractmethod
    def train(
        self, trained: LanguageModel, original: LanguageModel, batches: tuple[Rows, Rows], seed: int
    ) -> None:
        """Change a copy of a model in place; it runs models inside `routing`.

        Args:
            trained: the model that trains. The method may freeze parameters of it.
            original: the model before the method.
            batches: batches of texts labeled forget, and of others.
            seed: seed of the random numbers that the method draws.
        """

    def unlearn(
        self,
        model: LanguageModel,
        forget: Texts,
        others: Texts,
        batch_size: int,
        seed: int,
        unit: Unit = "document",
    ) -> LanguageModel:
        """Return a copy of a model, trained by the method.

        Args:
            model: a trained model on any device, which stays unchanged.
            forget: texts labeled forget.
            others: texts not labeled forget.
            batch_size: number of texts of each kind in a step, at most all there are.
            seed: seed of the order of texts and of the random numbers that the method draws.
            unit: what of the texts labeled forget is unlearned: all tokens, or those labeled
                forget, while the others of these texts are only read.

        Raises:
            ValueError: if texts of one kind are missing, the settings do not fit the model, or a
                loss or a weight is not finite.
        """
        batches = forget_and_other_batches(forget, others, batch_size, seed, unit)
        self.require_fit(len(model.layers()), min(model.down_proj(0).shape))
        trained = model.copied()
        self.train(trained, model, batches, seed)
        trained.requires_grad_(True)
        return trained


@dataclass(frozen=True, kw_only=True, slots=True)
class Descent(PostHoc):
    """A method that lowers one loss by AdamW."""

    @abstractmethod
    def objective(self, trained: LanguageModel, original: LanguageModel, seed: int) -> Objective:
        """Return the loss to be lowered; the arguments are those of `train`."""

    def train(
        self, trained: LanguageModel, original: LanguageModel, batches: tuple[Rows, Rows], seed: int
    ) -> None:
        """Take the steps of AdamW."""
        descend(trained, self.objective(trained, original, seed), batches, self)


def forget_and_other_batches(
    forget: Texts, others: Texts, batch_size: int, seed: int, unit: Unit = "document"
) -> tuple[Rows, Rows]:
    """Return batches of texts labeled forget, with their labels as routes, and of others.

    Raises:
        ValueError: if texts of one kind are missing.
    """
    require_both(forget, others)
    first, second = (
        Rows(
            Routed(texts, torch.full((len(texts),), label), unit), min(batch_size, len(texts)), seed
        )
        for texts, label in ((forget, FORGET), (others, RETAIN))
    )
    return first, second


def descend(
    model: LanguageModel, objective: Objective, batches: tuple[Rows, Rows], settings: PostHoc
) -> None:
    """Train the parameters of a model that are not frozen, in place.

    Raises:
        ValueError: if a loss or a weight is not finite.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = AdamW(trained, settings.learning_rate, weight_decay=0.0)
    for step in range(settings.steps):
        forget, others = batches_on(model.device, batches, step)
        loss = objective(forget, others)
        require_finite([loss], "the loss", step, settings)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    require_finite(trained, "a weight", settings.steps, settings)


def require_both(forget: Texts, others: Texts) -> None:
    """Raise a ValueError if texts of one kind are missing."""
    if not len(forget) or not len(others):
        raise ValueError(
            f"{len(forget)} stories to forget and {len(others)} others were given: give 1 or more "
            "of both"
        )


def batches_on(device: torch.device, batches: tuple[Rows, Rows], step: int) -> tuple[Batch, Batch]:
    """Return the batches of a step, of texts labeled forget and of others, on a device.

    Their tokens train all parameters. The first has only the targets that are labeled forget.
    """
    forget, others = (Batch(*(part.to(device) for part in rows(step))) for rows in batches)
    targets = forget.targets.where(forget.route == FORGET, IGNORED)
    return Batch(forget.inputs, targets, torch.full_like(forget.route, RETAIN)), others


def require_finite(values: Sequence[Tensor], what: str, step: int, settings: PostHoc) -> None:
    """Raise a ValueError if a value is not finite after a number of steps."""
    if not all(bool(value.isfinite().all()) for value in values):
        raise ValueError(
            f"{what} is not finite after {step} steps at learning rate "
            f"{settings.learning_rate:g}: lower the learning rate"
        )


class Likelihoods(NamedTuple):
    """Likelihoods of the texts of a batch under a model."""

    nats_b: Tensor
    """Negative log-probability of each text."""
    tokens_b: Tensor
    """Number of tokens of each text."""

    @property
    def mean(self) -> Tensor:
        """The mean loss of a token."""
        return self.nats_b.sum() / self.tokens_b.sum()


def likelihoods(model: LanguageModel, batch: Batch) -> Likelihoods:
    """Return the likelihoods of the texts of a batch; every token trains all parameters."""
    device = batch.inputs.device
    with routing(model, UNROUTED.to(device), batch.route), precision(device):
        losses_bt = model.token_losses(batch.inputs, batch.targets)
    tokens_b = (batch.targets != IGNORED).sum(-1).clamp(min=1)
    return Likelihoods(losses_bt.sum(-1), tokens_b)
