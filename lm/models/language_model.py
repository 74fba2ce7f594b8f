"""What training, evaluation and attacks ask of a language model.

Shape suffixes: b batch, t tokens, d width, v vocabulary.

The cross-entropy of each token, in pieces where the logits would not fit.

Shape suffixes: b batch, t tokens, d width, v vocabulary.

Sample texts: greedy or sampled tokens, one at a time.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from oversight.routing import gate_linear

IGNORED = -100
"""A target of this value has no loss, as in PyTorch's cross-entropy."""

CHUNK_LOGITS = 2**24
"""Logits that a batch may have; one of more is cut in pieces, and each computed twice."""

PIECES = 16
"""Pieces at most, since each adds to the gradient of the whole head."""


def output_logits(x_btd: Tensor, head_vd: Tensor, weight: Tensor | None) -> Tensor:
    """Return the logits of features, [B, T, V]; each token teaches the head by its weight."""
    if weight is None:
        return F.linear(x_btd, head_vd)
    return gate_linear(x_btd, head_vd, weight)


def cross_entropy(x_btd: Tensor, head_vd: Tensor, weight: Tensor | None, next_bt: Tensor) -> Tensor:
    """Return the cross-entropy of each next token, [B, T]; 0 where it is `IGNORED`.

    Args:
        x_btd: what the output head reads.
        head_vd: the matrix of the head.
        weight: by which each token teaches the head, as in `gate_linear`; none if all do.
        next_bt: the tokens to predict.
    """
    batch, length = next_bt.shape
    size = piece_length(batch, length, head_vd.shape[0])
    if size >= length:
        return _losses(x_btd, head_vd, weight, next_bt)
    cuts = [slice(start, start + size) for start in range(0, length, size)]
    by_token = weight is not None and weight.shape[1] == length
    pieces = [
        checkpoint(
            _losses,
            x_btd[:, cut],
            head_vd,
            weight[:, cut] if by_token and weight is not None else weight,
            next_bt[:, cut],
            use_reentrant=False,
            preserve_rng_state=False,
        )
        for cut in cuts
    ]
    return torch.cat(pieces, dim=1)


def piece_length(batch: int, length: int, vocab_size: int) -> int:
    """Return how many tokens of each row make a piece.

    >>> piece_length(8, 1024, 50257), piece_length(1, 1024, 151936)
    (64, 110)
    """
    return max(CHUNK_LOGITS // (batch * vocab_size), -(-length // PIECES), 1)


def _losses(x_btd: Tensor, head_vd: Tensor, weight: Tensor | None, next_bt: Tensor) -> Tensor:
    logits_btv = output_logits(x_btd, head_vd, weight)
    losses = F.cross_entropy(
        logits_btv.flatten(0, 1), next_bt.flatten(), reduction="none", ignore_index=IGNORED
    )
    return losses.view(next_bt.shape)


class LanguageModel(nn.Module, ABC):
    """A network with Gates that predicts the next token; train it inside `routing`."""

    @property
    @abstractmethod
    def shape(self) -> dict[str, Any]:
        """What the model is, without its weights, in plain numbers and words."""

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """Tokens of the vocabulary."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Features of the residual stream."""

    @property
    @abstractmethod
    def context(self) -> int:
        """Tokens that it sees at most."""

    @property
    @abstractmethod
    def expanded(self) -> bool:
        """Whether it has parts that were added to be ablated."""

    @abstractmethod
    def features(self, tokens_bt: Tensor) -> Tensor:
        """Return what the output head reads, [B, T, D]."""

    @abstractmethod
    def embedded(self, tokens_bt: Tensor) -> Tensor:
        """Return what tokens are looked up as, [B, T, D], before anything is done to it."""

    @abstractmethod
    def features_of(self, x_btd: Tensor) -> Tensor:
        """Return the features of embedded tokens, or of what is put in their place, [B, T, D]."""

    @abstractmethod
    def logits(self, x_btd: Tensor) -> Tensor:
        """Return the logits of features, [..., V]."""

    @abstractmethod
    def normed(self, x_btd: Tensor) -> Tensor:
        """Return the features that the output head would read of a residual stream, [B, T, D]."""

    @abstractmethod
    def token_losses(self, tokens_bt: Tensor, next_bt: Tensor) -> Tensor:
        """Return the cross-entropy of each next token, [B, T]; 0 where it is `IGNORED`."""

    @abstractmethod
    def parameter_targets(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters of each target that has some, all that train in all."""

    @abstractmethod
    def layers(self) -> Sequence[nn.Module]:
        """Return the blocks of attention and MLP, the first first."""

    @abstractmethod
    def down_proj(self, layer: int) -> nn.Parameter:
        """Return the matrix by which the original hidden units of a layer write, [D, hidden]."""

    @abstractmethod
    def copied(self) -> Self:
        """Return a copy with weights of its own, no hooks, and nothing frozen."""

    @abstractmethod
    def ablated(self) -> Self:
        """Return a copy without what was added, a plain model.

        Raises:
            ValueError: if nothing was added.
        """

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.parameters()).device

    def forward(self, tokens_bt: Tensor) -> Tensor:
        """Return the logits of each next token, [B, T, V]."""
        return self.logits(self.features(tokens_bt))

    def total_loss(self, tokens_bt: Tensor, next_bt: Tensor) -> Tensor:
        """Return the sum of the losses of all tokens."""
        return self.token_losses(tokens_bt, next_bt).sum()

    def loss(self, tokens_bt: Tensor, next_bt: Tensor) -> Tensor:
        """Return the mean loss of the tokens that are not `IGNORED`; 0 if all are."""
        counted = (next_bt != IGNORED).sum().clamp(min=1)
        return self.total_loss(tokens_bt, next_bt) / counted

    def residual(self, tokens_bt: Tensor, layer: int) -> Tensor:
        """Return what a layer leaves in the residual stream, [B, T, D]; no later one is computed.

        Raises:
            ValueError: if there is no such layer.
        """
        layers = self.layers()
        if not 0 <= layer < len(layers):
            raise ValueError(
                f"layer {layer} was asked for: give one from 0 to {len(layers) - 1}, the last"
            )
        handle = layers[layer].register_forward_hook(_reach)
        try:
            self.features(tokens_bt)
        except _LayerReached as reached:
            return reached.x_btd
        finally:
            handle.remove()
        raise AssertionError("a forward pass computes every layer")

    def residuals(self, tokens_bt: Tensor) -> list[Tensor]:
        """Return what each layer leaves in the residual stream, [B, T, D] each, in one pass."""
        found: list[Tensor] = []
        handles = [
            layer.register_forward_hook(lambda _module, _read, y: found.append(_first(y)))
            for layer in self.layers()
        ]
        try:
            self.features(tokens_bt)
        finally:
            for handle in handles:
                handle.remove()
        return found


class _LayerReached(Exception):  # noqa: N818 (no error)
    """Ends a forward pass at the layer that was asked for."""

    def __init__(self, x_btd: Tensor) -> None:
        super().__init__()
        self.x_btd = x_btd


def _reach(layer: nn.Module, read: object, written: Tensor | tuple[Tensor, ...]) -> None:
    raise _LayerReached(_first(written))


def _first(written: Tensor | tuple[Tensor, ...]) -> Tensor:
    # some families' layers return more than the residual stream, but that first
    return written if isinstance(written, Tensor) else written[0]


@torch.no_grad()
def generate(
    model: LanguageModel, prompt: Tensor, length: int, temperature: float = 0.0, seed: int = 0
) -> Tensor:
    """Return a prompt with more tokens after it, [b, t + length].

    Args:
        model: it reads the last tokens that fit its context.
        prompt: [b, t], one token at least.
        length: how many tokens to add.
        temperature: 0 takes the likeliest token; above, tokens are drawn, more freely the higher.
        seed: of the draws.

    Raises:
        ValueError: if the prompt is empty or the temperature negative.
    """
    if prompt.ndim != 2 or not prompt.shape[1] or temperature < 0:
        raise ValueError(
            f"a prompt of shape {tuple(prompt.shape)} and a temperature of {temperature} were "
            "given: give [rows, tokens] with one token at least, and a temperature from 0 on"
        )
    generator = torch.Generator().manual_seed(seed)
    tokens = prompt
    for _ in range(length):
        seen = tokens[:, -model.context :]
        logits = model.logits(model.features(seen)[:, -1:])[:, 0]
        if temperature == 0:
            chosen = logits.argmax(-1, keepdim=True)
        else:
            # on the CPU, so that a seed means the same on every device
            shares = torch.softmax(logits.float().cpu() / temperature, -1)
            chosen = torch.multinomial(shares, 1, generator=generator).to(tokens.device)
        tokens = torch.cat([tokens, chosen], dim=1)
    return tokens
