"""Methods that change representations of forget text: RMU, and CIR.

Shape suffixes: b texts, t tokens, d features, n tokens of all texts, k components.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.optim import SGD

from lm.models.language_model import LanguageModel
from lm.posthoc.method import Descent, Objective, PostHoc, batches_on, require_finite
from lm.training.batches import Batch, Rows
from lm.training.route_tables import RETAIN, UNROUTED
from oversight.routing import routing


@dataclass(frozen=True, kw_only=True, slots=True)
class RMU(Descent):
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

    def require_fit(self, layers: int, features: int) -> None:
        """Raise a ValueError if a model with a number of layers has not the one to steer."""
        if self.layer >= layers:
            raise ValueError(
                f"--{self.name}.layer {self.layer} was given: give a layer below {layers}, the "
                "number of layers of the model"
            )

    def objective(self, trained: LanguageModel, original: LanguageModel, seed: int) -> Objective:
        """Return the mean squared distances of activations from their targets."""
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


@dataclass(frozen=True, kw_only=True, slots=True)
class CIR(PostHoc):
    """Settings of cir: collapse of irrelevant representations (Sondej and Yang 2025, 2509.11816).

    The gradient of a matrix is a sum over tokens, sum_t g_t a_t^T: a_t is what the matrix reads,
    and g_t the gradient of what it writes. What forget texts have in common, the mean and the first
    principal components of a and of g, is projected out of both before the sum, so that only what
    is specific to single texts is unlearned. The forget loss is the mean over `layers` and tokens
    of max(0, <m, m0>) / E|m0|^2, where m is the output of an MLP and m0 that of the original model:
    it leaves an output alone once it is orthogonal to what it was. Its step has a fixed norm. The
    retain loss is the mean distance of the residual stream from that of the original model.

    Formulas and settings are those of the authors' code (filyp/unlearning, `src/CIR.py`). For
    Llama-3.2-1B with 16 layers it has `layers` 6 to 11, 23 components of what is read and 35 of
    gradients, both computed anew after each epoch, steps of norm 0.2, and a learning rate of the
    retain loss of 3e-4, which is a weight of 1.5e-3 here. There all matrices of the MLPs train, and
    the retain loss takes a step of its own; here only down projections train, as in rmu, and both
    losses share a step. The paper reports a 30 times larger reduction of the accuracy after an
    attack than by circuit breakers, at 0.1% more loss on general text.

    On `nano` the method forgets less than the others here. Of nine settings that were tried, the
    defaults left 69% of the facts to forget and 97% of the others at 4% more retain loss; stronger
    ones removed as many of the others. The retain loss is a distance, whose gradient has the same
    norm however near the original is: if the product of `learning_rate` and `retain_weight` is
    large, its steps overshoot.
    """

    name: ClassVar[str] = "cir"
    summary: ClassVar[str] = (
        "Trained on all texts; afterwards MLPs unlearn what they write about single forget texts."
    )
    may_be_zero: ClassVar[tuple[str, ...]] = ("layers", "components", "steps")

    layers: tuple[int, ...] = (1, 2)
    """Layers whose MLP outputs are removed; the MLPs up to the last of them train."""
    components: int = 32
    """Principal components that are projected out, besides the mean."""
    refresh: int = 20
    """Steps after which components are computed anew, from the batches of these steps. The first
    such steps only collect them, and train nothing."""
    retain_weight: float = 0.4
    """Weight of keeping the activations of other texts; the gradient of forget texts has norm 1."""
    steps: int = 140
    """Number of steps of gradient descent, those that only collect included."""
    learning_rate: float = 0.7
    """Norm of the step that forget texts take."""

    def require_fit(self, layers: int, features: int) -> None:
        """Raise a ValueError if a model lacks a layer to change, or has too few features."""
        if max(self.layers, default=layers) >= layers:
            raise ValueError(
                f"--cir.layers {self.layers} was given: give layers below {layers}, the number of "
                "layers of the model"
            )
        most = features - 1  # with the mean, all features would be projected out
        if self.components >= most:
            raise ValueError(
                f"--cir.components {self.components} was given: give fewer than {most}, one below "
                "the features of the model"
            )

    def train(
        self, trained: LanguageModel, original: LanguageModel, batches: tuple[Rows, Rows], seed: int
    ) -> None:
        """Take the steps; the method draws no random numbers.

        Raises:
            ValueError: if a loss or a weight is not finite.
        """
        last = max(self.layers)
        matrices = [trained.down_proj(layer) for layer in range(last + 1)]
        trained.requires_grad_(False)
        for matrix in matrices:
            matrix.requires_grad_(True)
        optimizer = SGD(matrices, self.learning_rate)
        collapses = [Collapse(self.components) for _ in matrices]
        for step in range(self.steps):
            forget, others = batches_on(trained.device, batches, step)
            loss = self._forget(trained, original, forget, collapses)
            if step >= self.refresh:
                drift = drift_of(trained, original, others, last)
                require_finite([loss, drift], "the loss", step, self)
                (self.retain_weight * drift).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            optimizer.zero_grad()
            if (step + 1) % self.refresh == 0:
                for collapse in collapses:
                    collapse.refresh()
        require_finite(matrices, "a weight", self.steps, self)

    def _forget(
        self,
        trained: LanguageModel,
        original: LanguageModel,
        forget: Batch,
        collapses: Sequence["Collapse"],
    ) -> Tensor:
        """Return the loss on forget texts, and write its collapsed gradient, of norm 1."""
        last = max(self.layers)
        matrices = [trained.down_proj(layer) for layer in range(last + 1)]
        real = forget.targets >= 0
        real[:, 0] = False  # the first token sees no text, and has outliers in many models
        with torch.no_grad(), recorded(original, range(last + 1)) as before:
            activations(original, forget.inputs, last)
        with recorded(trained, range(last + 1)) as now:
            activations(trained, forget.inputs, last)
        loss = torch.stack(
            [alignment(now[i].written[real], before[i].written[real]) for i in self.layers]
        ).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        for matrix, call, collapse in zip(matrices, now, collapses, strict=True):
            gradient = collapse(call.read[real], call.gradient[real]).to(matrix)
            # some families hold matrices as [inputs, outputs]
            matrix.grad = gradient if gradient.shape == matrix.shape else gradient.T.contiguous()
        normalize_gradients(matrices)
        return loss.detach()


@dataclass
class Call:
    """What a linear map read and wrote in a forward pass, and the gradient of what it wrote."""

    read: Tensor
    """[b, t, inputs]"""
    written: Tensor
    """[b, t, outputs]"""
    gradient: Tensor
    """[b, t, outputs]; 0 until the backward pass"""

    def keep(self, gradient: Tensor) -> None:
        """Keep the gradient of what was written."""
        self.gradient = gradient


@contextmanager
def recorded(model: LanguageModel, layers: Sequence[int]) -> Iterator[list[Call]]:
    """Record the calls of the down projections of some layers, in the order of the layers."""
    calls: list[Call] = []

    def record(_module: nn.Module, inputs: tuple[Tensor, ...], written: Tensor) -> None:
        call = Call(inputs[0].detach(), written, torch.zeros_like(written))
        if written.requires_grad:
            written.register_hook(call.keep)  # type: ignore[no-untyped-call]
        calls.append(call)

    handles = [
        module.register_forward_hook(record)
        for layer in layers
        for module in model.modules()
        if getattr(module, "weight", None) is model.down_proj(layer)
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def alignment(written_nd: Tensor, original_nd: Tensor) -> Tensor:
    """Return the mean of max(0, <m, m0>) / E|m0|^2; E|m0| is the mean norm of the original.

    >>> alignment(torch.tensor([[3.0, 0.0], [0.0, -1.0]]), torch.tensor([[2.0, 0.0], [0.0, 2.0]]))
    tensor(0.7500)
    """
    scale = original_nd.norm(dim=-1).mean().square()
    shares_n: Tensor = (written_nd * original_nd).sum(-1) / scale
    return shares_n.clamp(min=0).mean()


class Collapse:
    """Computes gradients of a matrix without what the tokens seen so far have in common.

    Args:
        components: number of principal components besides the mean.
    """

    def __init__(self, components: int) -> None:
        self.read, self.gradient = Moments(), Moments()
        self.components = components
        self.bases: tuple[Tensor, Tensor] | None = None

    def __call__(self, read_nd: Tensor, gradient_nd: Tensor) -> Tensor:
        """Return the gradient of the matrix, [outputs, inputs], and remember the tokens."""
        self.read.add(read_nd)
        self.gradient.add(gradient_nd)
        if self.bases is not None:
            read_nd = project_out(read_nd, self.bases[0])
            gradient_nd = project_out(gradient_nd, self.bases[1])
        return gradient_nd.T @ read_nd

    def refresh(self) -> None:
        """Compute what is in common anew, from the tokens since the last time."""
        self.bases = self.read.basis(self.components), self.gradient.basis(self.components)
        self.read, self.gradient = Moments(), Moments()


class Moments:
    """Number, sum and products of vectors; their memory does not grow with the number."""

    def __init__(self) -> None:
        self.count, self.sum_d, self.products_dd = 0, torch.zeros(()), torch.zeros(())

    def add(self, x_nd: Tensor) -> None:
        """Add vectors."""
        x_nd = x_nd.double()
        self.count += len(x_nd)
        self.sum_d = self.sum_d.to(x_nd) + x_nd.sum(0)
        self.products_dd = self.products_dd.to(x_nd) + x_nd.T @ x_nd

    def basis(self, components: int) -> Tensor:
        """Return an orthonormal basis of the mean and the first principal components, [d, k + 1].

        The components are those of the covariance, and orthogonal to the mean only in the basis.
        """
        mean_d = self.sum_d / self.count
        covariance_dd = self.products_dd / self.count - torch.outer(mean_d, mean_d)
        _, vectors_dk = torch.linalg.eigh(covariance_dd)  # by ascending variance
        first = vectors_dk.flip(-1)[:, :components]
        basis: Tensor = torch.linalg.qr(torch.cat([mean_d[:, None], first], 1)).Q
        return basis


def project_out(x_nd: Tensor, basis_dk: Tensor) -> Tensor:
    """Return vectors without their parts in the span of an orthonormal basis.

    >>> project_out(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.0], [1.0], [0.0]]))
    tensor([[1., 0., 3.]])
    """
    basis_dk = basis_dk.to(x_nd)
    return x_nd - x_nd @ basis_dk @ basis_dk.T


def normalize_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Scale the gradients of parameters so that their norm is 1; gradients of 0 stay."""
    gradients = [each.grad for each in parameters if each.grad is not None]
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
    for gradient in gradients:
        gradient.div_(norm.clamp(min=torch.finfo(norm.dtype).tiny))


def drift_of(trained: LanguageModel, original: LanguageModel, others: Batch, layer: int) -> Tensor:
    """Return the mean distance of the residual stream after a layer from the original one."""
    with torch.no_grad():
        kept_btd = activations(original, others.inputs, layer)
    drift_btd = activations(trained, others.inputs, layer) - kept_btd
    distances_n: Tensor = drift_btd[others.targets >= 0].norm(dim=-1)
    return distances_n.mean()


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
