"""The base class of language models, their loss and their sampling.

Shape suffixes: b batch, t tokens, d width, v vocabulary.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from oversight.routing import gate_linear

IGNORED = -100
"""A target of this value has no loss, as in PyTorch's cross-entropy."""

CHUNK_LOGITS = 2**24
"""Maximum number of logits at a time. A larger batch is cut into pieces, which are recomputed in
the backward pass."""

PIECES = 16
"""Maximum number of pieces, since each adds to the gradient of the whole head."""


def identity(logits: Tensor) -> Tensor:
    """Return logits as they are."""
    return logits


@dataclass(frozen=True, slots=True)
class OutputHead:
    """A linear map of features to logits."""

    matrix_vd: Tensor
    bias_v: Tensor | None = None
    finish: Callable[[Tensor], Tensor] = identity
    """What the model does to logits after the map, element by element."""

    def logits(self, x_btd: Tensor, weight: Tensor | None, rows: Tensor | None = None) -> Tensor:
        """Return the logits of features, [B, T, V].

        Args:
            x_btd: the features.
            weight: scale of each token's gradient to the head, as in `gate_linear`; None for 1.
            rows: places of the rows that teach the head, as in `gate_linear`; None for all.
        """
        return self.finish(gate_linear(x_btd, self.matrix_vd, weight, self.bias_v, rows))


def cross_entropy(
    x_btd: Tensor,
    head: OutputHead,
    weight: Tensor | None,
    next_bt: Tensor,
    rows: Tensor | None = None,
) -> Tensor:
    """Return the cross-entropy of each next token, [B, T]; 0 where it is `IGNORED`.

    Args:
        x_btd: the input of the output head.
        head: the output head.
        weight: scale of each token's gradient to the head, as in `gate_linear`; None for 1.
        next_bt: the tokens to predict.
        rows: places of the rows that teach the head, as in `gate_linear`; None for all.
    """
    batch, length = next_bt.shape
    size = piece_length(batch, length, head.matrix_vd.shape[0])
    if size >= length:
        return _losses(x_btd, head, weight, next_bt, rows)
    cuts = [slice(start, start + size) for start in range(0, length, size)]
    by_token = weight is not None and weight.shape[1] == length
    pieces = [
        checkpoint(
            _losses,
            x_btd[:, cut],
            head,
            weight[:, cut] if by_token and weight is not None else weight,
            next_bt[:, cut],
            rows,
            use_reentrant=False,
            preserve_rng_state=False,
        )
        for cut in cuts
    ]
    return torch.cat(pieces, dim=1)


def piece_length(batch: int, length: int, vocab_size: int) -> int:
    """Return the number of tokens of each row in a piece.

    >>> piece_length(8, 1024, 50257), piece_length(1, 1024, 151936)
    (64, 110)
    """
    return max(CHUNK_LOGITS // (batch * vocab_size), -(-length // PIECES), 1)


def _losses(
    x_btd: Tensor, head: OutputHead, weight: Tensor | None, next_bt: Tensor, rows: Tensor | None
) -> Tensor:
    logits_btv = head.logits(x_btd, weight, rows)
    losses = F.cross_entropy(
        logits_btv.flatten(0, 1), next_bt.flatten(), reduction="none", ignore_index=IGNORED
    )
    return losses.view(next_bt.shape)


class LanguageModel(nn.Module, ABC):
    """A network with gates that predicts the next token; train it inside `routing`."""

    vocab_size: int
    """Tokens of the vocabulary."""
    width: int
    """Features of the residual stream."""
    context: int
    """Maximum number of tokens."""
    module_names: tuple[str, ...]
    """Names of the modules that were added to be removed, in order; none in a plain model."""

    @property
    def expanded(self) -> bool:
        """Whether the model has modules that were added to be removed."""
        return bool(self.module_names)

    @property
    @abstractmethod
    def shape(self) -> dict[str, Any]:
        """The settings of the model without its weights, as plain data."""

    @abstractmethod
    def features(self, tokens_bt: Tensor) -> Tensor:
        """Return the input of the output head, [B, T, D]."""

    @abstractmethod
    def embedded(self, tokens_bt: Tensor) -> Tensor:
        """Return the embeddings of tokens, [B, T, D]."""

    @abstractmethod
    def features_of(self, x_btd: Tensor) -> Tensor:
        """Return the features of embedded tokens, or of other vectors in their place, [B, T, D]."""

    @abstractmethod
    def logits(self, x_btd: Tensor) -> Tensor:
        """Return the logits of features, [..., V]."""

    @abstractmethod
    def normed(self, x_btd: Tensor) -> Tensor:
        """Return a residual stream as the output head reads it, after the last norm, [B, T, D]."""

    @abstractmethod
    def token_losses(self, tokens_bt: Tensor, next_bt: Tensor) -> Tensor:
        """Return the cross-entropy of each next token, [B, T]; 0 where it is `IGNORED`."""

    @abstractmethod
    def parameter_targets(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters of each target that has some; together these are all that train."""

    @abstractmethod
    def layers(self) -> Sequence[nn.Module]:
        """Return the blocks of attention and MLP in order."""

    @abstractmethod
    def down_proj(self, layer: int) -> nn.Parameter:
        """Return the output matrix of the original hidden units of a layer, [D, hidden].

        Families that hold matrices as [inputs, outputs] return it so, [hidden, D].
        """

    @abstractmethod
    def output_matrix(self) -> nn.Parameter:
        """Return the matrix of the output head, [V, D]; models may read their inputs by it, too."""

    @abstractmethod
    def copied(self) -> Self:
        """Return a copy that shares no weights, without hooks, all parameters trainable."""

    @abstractmethod
    def profile(self, *names: str, weights: Mapping[str, float] | None = None) -> Self:
        """Return a copy that has only some of the modules: a capability profile.

        Args:
            names: names of the modules to keep. Without names, no module is kept.
            weights: scale of what a module writes, from 0 to 1, by name; 1 for other modules.

        Raises:
            ValueError: as `profile_scales`.
        """

    def ablated(self) -> Self:
        """Return a copy without modules.

        Raises:
            ValueError: if there are none.
        """
        if not self.expanded:
            raise ValueError("the model has no expansion to ablate: expand it before training")
        return self.profile()

    @property
    def device(self) -> torch.device:
        """The device of the model."""
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

    def last_features(self, tokens_bt: Tensor, cache: object = None) -> tuple[Tensor, object]:
        """Return the features of the last token, [B, 1, D], and what the next call may reuse.

        The model reads as many of the last tokens as its context holds.

        Args:
            tokens_bt: the tokens so far.
            cache: what the last call returned, for the same tokens without the last.
        """
        return self.features(tokens_bt[:, -self.context :])[:, -1:], None

    def require_room(self, x_bt: Tensor) -> None:
        """Raise a ValueError if there are more tokens, or vectors, than the context holds."""
        if x_bt.shape[1] > self.context:
            raise ValueError(
                f"{x_bt.shape[1]} tokens were given to a context of {self.context}: cut them"
            )

    def residual(self, tokens_bt: Tensor, layer: int) -> Tensor:
        """Return the residual stream after a layer, [B, T, D], without computing later layers.

        Raises:
            ValueError: if there is no such layer.
        """
        layers = self.layers()
        if not 0 <= layer < len(layers):
            raise ValueError(
                f"layer {layer} was asked for: give one from 0 to {len(layers) - 1}, the last"
            )
        return self.residuals(tokens_bt, layer)[layer]

    def residuals(self, tokens_bt: Tensor, last: int | None = None) -> list[Tensor]:
        """Return the residual stream after each layer up to `last`, [B, T, D] each.

        Later layers are not computed. By default, all layers are.
        """
        layers = self.layers() if last is None else self.layers()[: last + 1]
        found: list[Tensor] = []

        def read(_module: nn.Module, _inputs: object, y: Tensor | tuple[Tensor, ...]) -> None:
            found.append(_first(y))
            if last is not None and len(found) == len(layers):
                raise _LastLayerReached

        handles = [layer.register_forward_hook(read) for layer in layers]
        try:
            with suppress(_LastLayerReached):
                self.features(tokens_bt)
        finally:
            for handle in handles:
                handle.remove()
        return found


def profile_scales(
    known: Sequence[str], names: Sequence[str], weights: Mapping[str, float] | None
) -> dict[str, float]:
    """Return the scale of each module of a profile, in the order of the model.

    Args:
        known: the modules of the model.
        names: the modules to keep.
        weights: scale of a module, by name; None for 1.

    Raises:
        ValueError: if a name is unknown or given twice, or a weight is of a module that is not
            kept or not between 0 and 1.

    >>> profile_scales(["forest", "ocean", "city"], ["city", "forest"], {"city": 0.5})
    {'forest': 1.0, 'city': 0.5}
    """
    odd = [name for place, name in enumerate(names) if name not in known or name in names[:place]]
    if odd:
        raise ValueError(
            f"a profile of {', '.join(names)} was asked for: name modules of the model, each once: "
            f"{', '.join(known) or 'it has none'}"
        )
    given = dict(weights or {})
    if not set(given) <= set(names) or not all(0 <= weight <= 1 for weight in given.values()):
        raise ValueError(
            f"weights {given} were given to a profile of {', '.join(names) or 'no module'}: give "
            "each module of the profile a weight from 0 to 1"
        )
    return {name: float(given.get(name, 1.0)) for name in known if name in names}


class _LastLayerReached(Exception):  # noqa: N818 (not an error)
    """Ends a forward pass after the last requested layer."""


def _first(written: Tensor | tuple[Tensor, ...]) -> Tensor:
    # layers of some families return a tuple that begins with the residual stream
    return written if isinstance(written, Tensor) else written[0]


@torch.no_grad()
def generate(
    model: LanguageModel, prompt: Tensor, length: int, temperature: float = 0.0, seed: int = 0
) -> Tensor:
    """Continue a prompt, and return both, [b, t + length].

    The model reads as many of the last tokens as its context holds. A temperature of 0 takes the
    most likely token.

    Raises:
        ValueError: if the prompt is empty or the temperature negative.
    """
    if prompt.ndim != 2 or not prompt.shape[1] or temperature < 0:
        raise ValueError(
            f"a prompt of shape {tuple(prompt.shape)} and a temperature of {temperature} were "
            "given: give [rows, tokens] with one token at least, and a temperature from 0 on"
        )
    generator = torch.Generator().manual_seed(seed)
    tokens, cache = prompt, None
    for _ in range(length):
        features, cache = model.last_features(tokens, cache)
        logits = model.logits(features)[:, 0]
        if temperature == 0:
            chosen = logits.argmax(-1, keepdim=True)
        else:
            # sampled on the CPU, so that a seed gives the same tokens for every device
            shares = torch.softmax(logits.float().cpu() / temperature, -1)
            chosen = torch.multinomial(shares, 1, generator=generator).to(tokens.device)
        tokens = torch.cat([tokens, chosen], dim=1)
    return tokens
