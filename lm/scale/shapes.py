"""The shapes of decoders, and how many parameters each has.

Shape letters: V vocabulary, D width, F hidden units, K width of keys, L layers.
"""

from dataclasses import dataclass
from typing import Literal

from lm.model.sizes import GPTConfig

Kind = Literal["gpt", "gpt_neo", "llama", "qwen2"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """All that the number of parameters depends on."""

    kind: Kind
    """how layers are built: ours, or a family of transformers"""
    vocab_size: int
    """tokens of the vocabulary"""
    width: int
    """features of the residual stream"""
    layers: int
    """blocks"""
    hidden: int
    """hidden units of a block"""
    heads: int
    """attention heads that ask"""
    kv_heads: int
    """attention heads that are asked"""
    tied: bool = True
    """whether the embedding is the output head as well"""
    positions: int = 0
    """positions that are embedded; none with rotary ones"""
    units: int = 0
    """hidden units that an expansion adds to each layer"""
    added_embedding: bool = False
    """whether it adds an embedding"""
    rank: int = 0
    """rank of a pair of adapters at each linear map of a block, which else is frozen"""

    @property
    def embedding(self) -> int:
        """Parameters of tokens and positions, and of an output head of its own."""
        return self.vocab_size * self.width * (1 if self.tied else 2) + self.positions * self.width

    @property
    def matrices(self) -> list[tuple[int, int]]:
        """Inputs and outputs of each linear map of a block."""
        d, f, k = self.width, self.hidden, self.width // self.heads * self.kv_heads
        if self.kind == "gpt":
            return [(d, 3 * d), (d, d), (d, f), (f, d)]
        reading = [(d, f)] if self.kind == "gpt_neo" else [(d, f), (d, f)]
        return [(d, d), (d, k), (d, k), (d, d), *reading, (f, d)]

    @property
    def block(self) -> int:
        """Parameters of a block, without what was added."""
        d, f, k = self.width, self.hidden, self.width // self.heads * self.kv_heads
        # biases and gains of norms: none, of all maps but those of queries, keys and values, ...
        rest = {"gpt": 0, "gpt_neo": 6 * d + f, "llama": 2 * d, "qwen2": 3 * d + 2 * k}
        return sum(inputs * outputs for inputs, outputs in self.matrices) + rest[self.kind]

    @property
    def plain(self) -> int:
        """Parameters without what was added."""
        last_norm = {"gpt": 0, "gpt_neo": 2, "llama": 1, "qwen2": 1}[self.kind] * self.width
        return self.embedding + self.layers * self.block + last_norm

    @property
    def added(self) -> int:
        """Parameters of an expansion, or of adapters."""
        gated = self.kind in ("llama", "qwen2")
        biases = self.units if self.kind == "gpt_neo" else 0
        units = self.units * self.width * (3 if gated else 2) + biases
        adapters = 2 * self.rank * sum(inputs + outputs for inputs, outputs in self.matrices)
        embedding = self.vocab_size * self.width if self.added_embedding else 0
        return self.layers * (units + adapters) + embedding

    @property
    def total(self) -> int:
        """All parameters."""
        return self.plain + self.added

    @property
    def trained(self) -> int:
        """Those that train."""
        frozen = self.layers * self.block if self.rank else 0
        return self.total - frozen


def shape_of(config: GPTConfig) -> Shape:
    """Return the shape of one of our models, expanded in all layers or in none.

    >>> shape_of(GPTConfig(vocab_size=50257, width=512, num_layers=8, num_heads=16)).total
    50897408
    """
    return Shape(
        kind="gpt",
        vocab_size=config.vocab_size,
        width=config.width,
        layers=config.num_layers,
        hidden=config.hidden,
        heads=config.num_heads,
        kv_heads=config.num_heads,
        units=config.expansion,
        added_embedding=config.added_embedding,
    )


def _tinystories(width: int) -> Shape:
    return Shape(
        kind="gpt_neo",
        vocab_size=50257,
        width=width,
        layers=8,
        hidden=4 * width,
        heads=16,
        kv_heads=16,
        positions=2048,
    )


_QWEN = Shape(
    kind="qwen2", vocab_size=151_936, width=896, layers=24, hidden=4864, heads=14, kv_heads=2
)
_SMOL = Shape(
    kind="llama", vocab_size=49_152, width=576, layers=30, hidden=1536, heads=9, kv_heads=3
)

PUBLISHED = {
    "Qwen2.5-0.5B": _QWEN,
    "Qwen2.5-0.5B-Instruct": _QWEN,
    "SmolLM2-135M": _SMOL,
    "SmolLM2-135M-Instruct": _SMOL,
    "TinyStories-8M": _tinystories(256),
    "TinyStories-28M": _tinystories(512),
}
"""Shapes of models on the hub, by the last part of their names; from their `config.json`."""
