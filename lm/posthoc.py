"""Methods that unlearn after training: RMU, gradient difference, NPO and SimNPO.

Each method is one class: its fields are its settings (and the flags `--NAME.FIELD`), `summary` is
its sentence on model cards and help pages, and `objective` or `forget_loss` is its loss. To add a
method, write such a class and list it in `POSTHOC`; `lm.methods` makes it a method by its name.

All methods take a few steps of AdamW, each on a batch of texts labeled forget and a batch of
others.

Shape suffixes: b texts, t tokens, d width.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, make_dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
import tyro
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

    @abstractmethod
    def objective(self, trained: LanguageModel, original: LanguageModel, seed: int) -> Objective:
        """Return the loss to be lowered; it runs models inside `routing`.

        Args:
            trained: the model that trains. The method may freeze parameters of it.
            original: the model before the method.
            seed: seed of the random numbers that the method draws.
        """

    def unlearn(
        self, model: LanguageModel, forget: Texts, others: Texts, batch_size: int, seed: int
    ) -> LanguageModel:
        """Return a copy of a model, trained by the method.

        Args:
            model: a trained model on any device, which stays unchanged.
            forget: texts labeled forget.
            others: texts not labeled forget.
            batch_size: number of texts of each kind in a step, at most all there are.
            seed: seed of the order of texts and of the random numbers that the method draws.

        Raises:
            ValueError: if texts of one kind are missing, the settings do not fit the model, or a
                loss or a weight is not finite.
        """
        batches = forget_and_other_batches(forget, others, batch_size, seed)
        trained = model.copied()
        descend(trained, self.objective(trained, model, seed), batches, self)
        trained.requires_grad_(True)
        return trained


def forget_and_other_batches(
    forget: Texts, others: Texts, batch_size: int, seed: int
) -> tuple[Rows, Rows]:
    """Return batches of texts labeled forget and of others, whose tokens train all parameters.

    Raises:
        ValueError: if texts of one kind are missing.
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
    model: LanguageModel, objective: Objective, batches: tuple[Rows, Rows], settings: PostHoc
) -> None:
    """Train the parameters of a model that are not frozen, in place.

    Raises:
        ValueError: if a loss or a weight is not finite.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = AdamW(trained, settings.learning_rate, weight_decay=0.0)
    for step in range(settings.steps):
        forget, others = (
            Batch(*(part.to(model.device) for part in rows(step))) for rows in batches
        )
        loss = objective(forget, others)
        _require_finite([loss], "the loss", step, settings)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    _require_finite(trained, "a weight", settings.steps, settings)


def _require_finite(values: Sequence[Tensor], what: str, step: int, settings: PostHoc) -> None:
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


@dataclass(frozen=True, kw_only=True, slots=True)
class RMU(PostHoc):
    """Settings of rmu: representation misdirection (Li et al. 2024, arXiv 2403.03218).

    At one layer, activations of forget texts are steered to a random direction, and those of other
    texts are kept close to those of the original model. Only the down projections of the MLPs of
    that layer and of the two layers before it are trained.

    The paper steers a model of 7 billion parameters at layer 7 of 32 with coefficient 6.5 and
    weight 1200; Shilov et al. 2025 (arXiv 2512.05648) steer small GPTs with coefficient 20, weight
    100 and 240 steps. Activations of `nano` have norms of about 70, which a coefficient of 20
    hardly moves: of a dozen settings that were tried, the defaults raised its forget loss most and
    left its retain loss unchanged. In a deeper model, steer at about a fifth of its layers, as the
    paper does, with a coefficient of four times the norm of the activations there.
    """

    name: ClassVar[str] = "rmu"
    summary: ClassVar[str] = (
        "Trained on all texts; afterwards the representations of forget texts are misdirected."
    )
    may_be_zero: ClassVar[tuple[str, ...]] = ("layer", "steps")

    layer: int = 2
    """Layer at which activations are steered; its MLP and those of the two layers before train."""
    coefficient: float = 300.0
    """Norm of the vector to which activations of forget texts are steered."""
    retain_weight: float = 100.0
    """Weight of keeping the activations of other texts."""
    steps: int = 240
    """Number of steps of AdamW."""
    learning_rate: float = 3e-3
    """Learning rate of AdamW."""

    def require_layer(self, layers: int) -> None:
        """Raise a ValueError if a model with a number of layers has not the one to steer."""
        if self.layer >= layers:
            raise ValueError(
                f"--rmu.layer {self.layer} was given: give a layer below {layers}, the number of "
                "layers of the model"
            )

    def objective(self, trained: LanguageModel, original: LanguageModel, seed: int) -> Objective:
        """Return the mean squared distances of activations from their targets.

        Raises:
            ValueError: if the model has too few layers.
        """
        self.require_layer(len(original.layers()))
        trained.requires_grad_(False)
        for layer in range(max(0, self.layer - 2), self.layer + 1):
            trained.down_proj(layer).requires_grad_(True)
        target_d = self.coefficient * random_direction(original, seed)

        def loss(forget: Batch, others: Batch) -> Tensor:
            with torch.no_grad():
                kept_btd = activations(original, others.inputs, self.layer)
            away_btd = activations(trained, forget.inputs, self.layer) - target_d
            drift_btd = activations(trained, others.inputs, self.layer) - kept_btd
            away = away_btd[forget.targets >= 0].square().mean()
            drift = drift_btd[others.targets >= 0].square().mean()
            return away + self.retain_weight * drift

        return loss


def activations(model: LanguageModel, tokens_bt: Tensor, layer: int) -> Tensor:
    """Return the residual stream after a layer, [b, t, d]; every token trains all parameters."""
    route = torch.full_like(tokens_bt, RETAIN)
    with routing(model, UNROUTED.to(tokens_bt.device), route):
        return model.residual(tokens_bt, layer)


def random_direction(model: LanguageModel, seed: int) -> Tensor:
    """Return a random unit vector, [d], whose entries are not negative, as in the paper."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(model.width, generator=generator).to(model.down_proj(0))
    unit: Tensor = drawn / drawn.norm()
    return unit


@dataclass(frozen=True, kw_only=True, slots=True)
class ForgetLoss(PostHoc):
    """A method that adds a loss on forget texts to the weighted mean loss on other texts."""

    @abstractmethod
    def forget_loss(self, trained: LanguageModel, original: LanguageModel, forget: Batch) -> Tensor:
        """Return the loss of the trained model on a batch of texts labeled forget."""

    def objective(self, trained: LanguageModel, original: LanguageModel, seed: int) -> Objective:
        """Return the loss on forget texts plus the weighted retain loss."""

        def loss(forget: Batch, others: Batch) -> Tensor:
            on_forget = self.forget_loss(trained, original, forget)
            return on_forget + self.retain_weight * likelihoods(trained, others).mean

        return loss


@dataclass(frozen=True, kw_only=True, slots=True)
class GradDiff(ForgetLoss):
    """Settings of graddiff: gradient difference (Liu et al. 2022, arXiv 2203.12817).

    Gradient ascent on forget texts, and descent on others. Both losses are means over tokens. They
    have equal weight in TOFU (Maini et al. 2024, arXiv 2401.06121) and open-unlearning, with a
    learning rate of 1e-5 for models of a billion parameters and more. The ascent is unbounded: with
    equal weights `nano` kept three quarters of the facts or more, or its retain loss rose by a
    tenth or more. Of a dozen settings that were tried, the defaults brought the facts to chance at
    the least retain loss, 2% more.
    """

    name: ClassVar[str] = "graddiff"
    summary: ClassVar[str] = (
        "Trained on all texts; then gradient ascent on forget texts and descent on the others."
    )

    retain_weight: float = 20.0
    """Weight of the loss on other texts; the ascent has weight 1."""

    def forget_loss(self, trained: LanguageModel, original: LanguageModel, forget: Batch) -> Tensor:
        """Return minus the mean loss of a token."""
        return -likelihoods(trained, forget).mean


@dataclass(frozen=True, kw_only=True, slots=True)
class NPO(ForgetLoss):
    """Settings of npo: negative preference optimization (Zhang et al. 2024, arXiv 2404.05868).

    A forget text is a dispreferred answer without a preferred one. The gradient is that of ascent
    times 2 p^beta / (p^beta + p_ref^beta): it fades as the text becomes less likely than it was.
    The paper's code and open-unlearning have beta 0.1, equal weights of forget and retain loss, and
    a learning rate of 1e-5 for models of a billion parameters and more. Of ten settings that were
    tried at that beta and kept the retain loss of `nano` within 5%, the defaults raised its forget
    loss most.
    """

    name: ClassVar[str] = "npo"
    summary: ClassVar[str] = (
        "Trained on all texts; then negative preference optimization on forget texts."
    )

    beta: float = 0.1
    """How fast the gradient fades as forget texts become less likely; near 0 it never fades."""
    retain_weight: float = 3.0
    """Weight of the loss on other texts."""

    def forget_loss(self, trained: LanguageModel, original: LanguageModel, forget: Batch) -> Tensor:
        """Return the preference loss relative to the original model."""
        with torch.no_grad():
            before = likelihoods(original, forget)
        return npo_loss(likelihoods(trained, forget).nats_b, before.nats_b, self.beta)


def npo_loss(nats_b: Tensor, reference_nats_b: Tensor, beta: float) -> Tensor:
    """Return (2 / beta) mean log(1 + (p / p_ref)^beta).

    Args:
        nats_b: negative log-probability of each text, -log p.
        reference_nats_b: its negative log-probability under the original model, -log p_ref.
        beta: positive scale of the exponent.

    >>> npo_loss(torch.tensor([3.0, 5.0]), torch.tensor([3.0, 5.0]), beta=2.0)
    tensor(0.6931)
    """
    return 2 / beta * F.softplus(beta * (reference_nats_b - nats_b)).mean()


@dataclass(frozen=True, kw_only=True, slots=True)
class SimNPO(ForgetLoss):
    """Settings of simnpo: simple negative preference optimization (Fan et al. 2024, 2410.07163).

    NPO without a reference model: likelihoods are per token instead, so that long texts do not have
    a larger gradient than short ones. The paper's code has gamma 0, and on TOFU beta 2.5 with a
    forget weight of 0.1375 (forget05) or beta 4.5 with 0.125 (forget10): a retain weight of 7.3 or
    8. With other gammas the code subtracts beta times gamma, where the paper, as here, has gamma.
    At beta 2.5 the gradient vanishes at two nats a token, and `nano` kept a third of the facts and
    more; at beta 1, the default of open-unlearning, the defaults here brought the facts to chance
    at 1% more retain loss.
    """

    name: ClassVar[str] = "simnpo"
    summary: ClassVar[str] = (
        "Trained on all texts; then NPO normalized by length, without a reference model."
    )
    may_be_zero: ClassVar[tuple[str, ...]] = ("gamma", "steps")

    beta: float = 1.0
    """How fast the gradient fades as tokens of forget texts become unlikely."""
    gamma: float = 0.0
    """Margin by which tokens of forget texts are to become unlikely."""
    retain_weight: float = 2.0
    """Weight of the loss on other texts."""

    def forget_loss(self, trained: LanguageModel, original: LanguageModel, forget: Batch) -> Tensor:
        """Return the preference loss per token."""
        return simnpo_loss(likelihoods(trained, forget), self.beta, self.gamma)


def simnpo_loss(forget: Likelihoods, beta: float, gamma: float) -> Tensor:
    """Return -(2 / beta) mean log sigmoid(-(beta / tokens) log p - gamma).

    Args:
        forget: likelihoods p of the texts, with their numbers of tokens.
        beta: positive scale of the log-probability.
        gamma: margin, not negative.

    >>> simnpo_loss(Likelihoods(torch.tensor([4.0]), torch.tensor([2])), beta=0.5, gamma=1.0)
    tensor(2.7726)
    """
    per_token_b = forget.nats_b / forget.tokens_b
    return 2 / beta * F.softplus(gamma - beta * per_token_b).mean()


POSTHOC: dict[str, type[PostHoc]] = {each.name: each for each in (RMU, GradDiff, NPO, SimNPO)}
"""The methods by name, in the order of tables."""

_FIELDS: list[tuple[str, Any, Any]] = [
    (
        name,
        Annotated[method, tyro.conf.arg(help=(method.__doc__ or "").split("\n")[0])],
        field(default_factory=method),
    )
    for name, method in POSTHOC.items()
]


@dataclass(frozen=True, kw_only=True, slots=True)
class PostHocSettings(make_dataclass("_PostHocSettings", _FIELDS, frozen=True, kw_only=True)):  # type: ignore[misc] # made from the registry
    """The settings of all methods of `POSTHOC`, each in a field of its name."""

    def method(self, name: str) -> PostHoc:
        """Return a method with its settings."""
        found: PostHoc = getattr(self, name)
        return found
