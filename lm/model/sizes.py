"""The shape of a GPT, and the named shapes."""

from dataclasses import dataclass, replace


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
