"""The MLP of a block: its original hidden units, and those that an expansion adds.

Shape suffixes: b batch, t tokens, d width, f hidden units.

A linear map whose parameters are a target.

Whether a token sees an expansion, in the forward pass.

The embedding that an expansion adds to the model's own.

The targets of a GPT: the names that a route table gives weights to.

At activations, where a Gate weighs the gradient of what lies below:
- `hidden`: the hidden units of an MLP in a layer that is not expanded;
- `original` and `expansion`: in an expanded layer, those it had and those it was given;
- `mlp` and `attention`: what an MLP or an attention layer writes to the residual stream;
- `loss`: the loss of a token.

At parameters, each token teaching them by its weight:
- `original_parameters`: all that a model has without its expansion, the embedding included;
- `expansion_parameters`: the expansion's.

In the forward pass as well:
- `expansion_mask`: what the expansion writes, times the weight. At 0 a token does not see it.

Causal self-attention with rotary positions.

Shape suffixes: b batch, h heads, t tokens, d width, c features of a head.

The shape of a GPT, and the named shapes.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oversight.routing import Gate, gate_linear


class RoutedLinear(nn.Module):
    """A linear map without bias, which each token teaches by its weight at a target.

    Costs nothing while every route has weight 1 there.

    Args:
        inputs: features that it reads.
        outputs: features that it writes.
        target: the name of its parameters in a route table.
    """

    def __init__(self, inputs: int, outputs: int, target: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.parameter_gate = Gate(target)  # never applied: it only knows the weights in force

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., inputs] to [..., outputs]."""
        weight = self.parameter_gate.weight_for(x)
        return F.linear(x, self.weight) if weight is None else gate_linear(x, self.weight, weight)


HIDDEN = "hidden"
ORIGINAL = "original"
EXPANSION = "expansion"
MLP = "mlp"
ATTENTION = "attention"
LOSS = "loss"
ORIGINAL_PARAMETERS = "original_parameters"
EXPANSION_PARAMETERS = "expansion_parameters"
EXPANSION_MASK = "expansion_mask"

TARGETS = (
    HIDDEN,
    ORIGINAL,
    EXPANSION,
    MLP,
    ATTENTION,
    LOSS,
    ORIGINAL_PARAMETERS,
    EXPANSION_PARAMETERS,
    EXPANSION_MASK,
)
"""All of them."""


class ExpansionMask(nn.Module):
    """Multiply what an expansion writes by each token's weight; the weight is 1 without routes."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate(EXPANSION_MASK)  # never applied: it only knows the weights in force

    def forward(self, written_btd: Tensor) -> Tensor:
        """Map [B, T, D] to itself."""
        weight = self.gate.weight_for(written_btd)
        if weight is None:
            return written_btd
        return written_btd * weight.to(written_btd.device, written_btd.dtype)


@dataclass(frozen=True, kw_only=True, slots=True)
class GPTConfig:
    """The shape of a GPT, its expansion included: all that it takes to build one.

    Raises:
        ValueError: if the sizes do not fit each other.
    """

    vocab_size: int = 2048
    """tokens of the vocabulary"""
    width: int = 128
    """features of the residual stream"""
    num_layers: int = 4
    """blocks of attention and MLP"""
    num_heads: int = 4
    """attention heads of a block"""
    context: int = 256
    """tokens that the model sees at most"""
    expansion: int = 0
    """hidden units added to the MLP of each expanded layer"""
    expanded_layers: tuple[int, ...] = ()
    """the layers that have them"""
    added_embedding: bool = False
    """whether the expansion embeds tokens, too"""

    def __post_init__(self) -> None:
        sizes = (self.vocab_size, self.width, self.num_layers, self.num_heads, self.context)
        if min(sizes) < 1 or self.width % self.num_heads or self.width // self.num_heads % 2:
            raise ValueError(
                f"{self} cannot be built: give positive sizes and a width that splits into "
                "num_heads heads of an even number of features"
            )
        layers = self.expanded_layers
        known = set(range(self.num_layers))
        if (self.expansion > 0) != bool(layers) or len(set(layers)) != len(layers):
            raise ValueError(
                f"an expansion of {self.expansion} units in the layers {layers} was given: give a "
                "positive number of units and each layer once, or neither"
            )
        if self.expansion < 0 or not known.issuperset(layers):
            raise ValueError(
                f"an expansion of {self.expansion} units in the layers {layers} was given, but the "
                f"layers are 0 to {self.num_layers - 1}: name layers of the model"
            )

    @property
    def hidden(self) -> int:
        """Hidden units of an MLP that is not expanded."""
        return 4 * self.width

    @property
    def plain(self) -> "GPTConfig":
        """The same shape without its expansion."""
        return replace(self, expansion=0, expanded_layers=(), added_embedding=False)

    @property
    def expanded(self) -> bool:
        """Whether there is an expansion."""
        return self != self.plain


SIZES = {
    "nano": GPTConfig(),  # 1.0M parameters: trains on a CPU in minutes
    "small": GPTConfig(width=256, num_heads=8),  # 3.7M
    "medium": GPTConfig(width=256, num_layers=8, num_heads=8),  # 6.8M
    "large": GPTConfig(width=512, num_layers=8, num_heads=16),  # 26.2M
    # the shape of Eldan and Li 2023 (arXiv 2305.07759), which Cloud et al. 2024 unlearn: 50.9M
    # with its vocabulary, tied here
    "tinystories-8m": GPTConfig(vocab_size=50257, width=256, num_layers=8, num_heads=16),  # 19.2M
    "tinystories-28m": GPTConfig(vocab_size=50257, width=512, num_layers=8, num_heads=16),
    # 63.5M with GPT-2's vocabulary: Shilov et al. 2025 (arXiv 2512.05648), bilingual TinyStories
    "sgtm-64m": GPTConfig(vocab_size=50257, width=512, num_layers=12, num_heads=32, context=512),
    # 0.80B with Qwen's vocabulary: Cloud et al. 2024 (arXiv 2410.04332), appendix E
    "virology": GPTConfig(
        vocab_size=151_936, width=1536, num_layers=20, num_heads=12, context=1024
    ),
}
"""Shapes by name."""


def size(name: str, vocab_size: int | None = None) -> GPTConfig:
    """Return a named shape, with the vocabulary of a tokenizer if given.

    Raises:
        ValueError: if there is no such name.

    >>> size("nano", vocab_size=512).vocab_size
    512
    """
    if name not in SIZES:
        raise ValueError(f"unknown size {name!r}: choose one of {', '.join(SIZES)}")
    return SIZES[name] if vocab_size is None else replace(SIZES[name], vocab_size=vocab_size)


class HiddenUnits(nn.Module):
    """Some hidden units of an MLP, with the weights that they read and write by.

    Units are independent of each other, so that an MLP is the sum of its parts, and each part has
    parameters and optimizer state of its own.

    Args:
        width: features of the residual stream.
        units: how many.
        target: the target of their activations.
        parameters: the target of their weights.
    """

    def __init__(self, width: int, units: int, target: str, parameters: str) -> None:
        super().__init__()
        self.up = RoutedLinear(width, units, parameters)
        self.down = RoutedLinear(units, width, parameters)
        self.gate = Gate(target)

    def forward(self, x_btd: Tensor) -> Tensor:
        """Map [B, T, D] to what the units write, [B, T, D]."""
        h_btf = F.gelu(self.up(x_btd), approximate="tanh")
        y_btd: Tensor = self.down(self.gate(h_btf))
        return y_btd


class GatedMLP(nn.Module):
    """An MLP, expanded if the layer is among the expanded ones; its output passes a Gate."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        expanded = layer in config.expanded_layers
        self.original = HiddenUnits(
            config.width, config.hidden, ORIGINAL if expanded else HIDDEN, ORIGINAL_PARAMETERS
        )
        self.expansion: HiddenUnits | None = None
        if expanded:
            self.expansion = HiddenUnits(
                config.width, config.expansion, EXPANSION, EXPANSION_PARAMETERS
            )
            self.expansion_mask = ExpansionMask()
        self.gate = Gate(MLP)

    def forward(self, x_btd: Tensor) -> Tensor:
        """Map [B, T, D] to itself, token by token."""
        y_btd: Tensor = self.original(x_btd)
        if self.expansion is not None:
            y_btd = y_btd + self.expansion_mask(self.expansion(x_btd))
        gated: Tensor = self.gate(y_btd)
        return gated


class ExpansionEmbedding(nn.Module):
    """What an expansion knows of single tokens; zeros until it is trained.

    Words that only forget text has are learned here, where the model's own embedding may not learn
    them. The output head does not read it.

    Args:
        vocab_size: tokens of the vocabulary.
        width: features of the residual stream.
    """

    def __init__(self, vocab_size: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(vocab_size, width))
        self.parameter_gate = Gate(EXPANSION_PARAMETERS)
        self.expansion_mask = ExpansionMask()

    def forward(self, tokens_bt: Tensor) -> Tensor:
        """Map tokens [B, T] to what is added to their embedding, [B, T, D]."""
        # weighing what the lookup gives weighs what it teaches the embedding
        looked_up: Tensor = self.parameter_gate(F.embedding(tokens_bt, self.weight))
        added: Tensor = self.expansion_mask(looked_up)
        return added


class Attention(nn.Module):
    """Causal self-attention; its output passes a Gate."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.heads = config.num_heads
        self.qkv = RoutedLinear(config.width, 3 * config.width, ORIGINAL_PARAMETERS)
        self.out = RoutedLinear(config.width, config.width, ORIGINAL_PARAMETERS)
        self.gate = Gate(ATTENTION)

    def forward(self, x_btd: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        """Map [B, T, D] to itself, each token reading those before it and itself."""
        batch, length, width = x_btd.shape
        parts = self.qkv(x_btd).view(batch, length, 3, self.heads, width // self.heads)
        q_bhtc, k_bhtc, v_bhtc = parts.permute(2, 0, 3, 1, 4).unbind(0)
        q_bhtc, k_bhtc = rotate(q_bhtc, rotation), rotate(k_bhtc, rotation)
        y_bhtc = F.scaled_dot_product_attention(q_bhtc, k_bhtc, v_bhtc, is_causal=True)
        y_btd = y_bhtc.transpose(1, 2).reshape(batch, length, width)
        gated: Tensor = self.gate(self.out(y_btd))
        return gated


def rotations(features: int, length: int) -> tuple[Tensor, Tensor]:
    """Return cosine and sine of each position's angles, [length, features / 2].

    Rotary position embedding, Su et al. 2021 (arXiv 2104.09864), with base 10,000: pair i of the
    features turns by position / 10000^(2i / features).
    """
    frequencies = 10_000.0 ** (-torch.arange(0, features, 2, dtype=torch.float64) / features)
    angles = torch.outer(torch.arange(length, dtype=torch.float64), frequencies)
    return angles.cos().float(), angles.sin().float()


def rotate(x_bhtc: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Turn feature i together with feature i + C / 2 by the angles of its position."""
    cos, sin = (part.to(x_bhtc.dtype) for part in rotation)
    first, second = x_bhtc.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
