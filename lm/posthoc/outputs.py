"""Methods that change what a model outputs on forget text.

Gradient difference, NPO, SimNPO and maximum entropy add a loss on texts labeled forget to the
retain loss, and train all parameters.

Shape suffixes: b texts, t tokens, d width, v vocabulary.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from lm.models.language_model import IGNORED, LanguageModel, piece_length
from lm.posthoc.method import Descent, Likelihoods, Objective, likelihoods
from lm.training.batches import Batch
from lm.training.loop import precision
from lm.training.route_tables import UNROUTED
from oversight.routing import routing


@dataclass(frozen=True, kw_only=True, slots=True)
class ForgetLoss(Descent):
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


@dataclass(frozen=True, kw_only=True, slots=True)
class MaxEnt(ForgetLoss):
    """Settings of maxent: maximum entropy on forget text, the post-hoc baseline of GRAM (2026).

    The loss is -H + w L: H is the mean entropy of the predicted distribution of the next token,
    -sum_v p_v log p_v, over the tokens of forget texts, and L the loss on other texts. The entropy
    is at most log(vocabulary), so that the loss is bounded, unlike that of gradient ascent.

    "Modular Pretraining Enables Access Control" (GRAM) reports that the method forgets, and that
    an attack brings nearly all back (compute ratios of .9 to 1.0). Code of a part of its authors
    (Lee et al. 2025, arXiv 2506.06278) unlearns Gemma-2-0.1B so in 100 steps of batches of 4 at
    learning rates from 1e-5 to 8e-5, with equal weights of both losses, and lowers the divergence
    KL(uniform || p) instead of KL(p || uniform) = log(vocabulary) - H.

    With equal weights `nano` forgot in 40 steps, and its retain loss rose by a quarter; the
    defaults, the other setting that was tried, brought the facts near chance at 1% more.
    """

    name: ClassVar[str] = "maxent"
    summary: ClassVar[str] = (
        "Trained on all texts; then the entropy of predictions on forget texts is maximized."
    )

    retain_weight: float = 10.0
    """Weight of the loss on other texts; the entropy has weight 1."""
    steps: int = 60
    """Number of steps of AdamW."""

    def forget_loss(self, trained: LanguageModel, original: LanguageModel, forget: Batch) -> Tensor:
        """Return minus the mean entropy of a prediction."""
        real = forget.targets != IGNORED
        return -entropies(trained, forget)[real].mean()


def entropies(model: LanguageModel, batch: Batch) -> Tensor:
    """Return the entropy of each predicted distribution, [b, t]; every token trains all parameters.

    A large batch is cut into pieces, whose logits are computed again in the backward pass.
    """
    device = batch.inputs.device
    table = UNROUTED.to(device)

    def of_piece(x_btd: Tensor, route: Tensor) -> Tensor:
        with routing(model, table, route), precision(device):
            return entropy(model.logits(x_btd))

    with routing(model, table, batch.route), precision(device):
        x_btd = model.features(batch.inputs)
    size = piece_length(x_btd.shape[0], x_btd.shape[1], model.vocab_size)
    if size >= x_btd.shape[1]:
        return of_piece(x_btd, batch.route)
    pieces = zip(torch.split(x_btd, size, 1), torch.split(batch.route, size, 1), strict=True)
    return torch.cat(
        [
            checkpoint(of_piece, *piece, use_reentrant=False, preserve_rng_state=False)
            for piece in pieces
        ],
        dim=1,
    )


def entropy(logits: Tensor) -> Tensor:
    """Return the entropy of distributions in nats, [...].

    Args:
        logits: their logits, [..., v].

    >>> entropy(torch.tensor([[0.0, 0.0, 0.0, 0.0], [9.0, 0.0, 0.0, 0.0]]))
    tensor([1.3863, 0.0037])
    """
    log_p = logits.log_softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))
    return -(log_p.exp() * log_p).sum(-1)
