"""The shape of a GPT, and the targets in it that a route table gives weights to.

An expansion consists of one or more modules, each of which can be removed by itself. Its only
module is called `expansion` unless modules are named, and the targets of a module are named after
it. Below, `expansion` stands for any module.

Targets at activations, where a Gate multiplies the gradient of what lies below:
- `hidden`: the hidden units of an MLP in a layer that is not expanded;
- `original` and `expansion`: in an expanded layer, the units it had and those of the module;
- `mlp` and `attention`: the output of an MLP or an attention layer to the residual stream, before
  the norm that some families put there;
- `loss`: the loss of a token.

Targets at parameters, where a token's weight multiplies its contribution to their gradient:
- `original_parameters`: all parameters of the model without its expansion, the embedding included;
- `expansion_parameters`: the parameters of the module.

A target in the forward pass:
- `expansion_mask`: multiplies the output of the module. A token of weight 0 does not see it.

Where modules are experts, the MLP of the core is one more of them, with the name `core`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import nn

from oversight.runs.settings import require_numbers

HIDDEN = "hidden"
ORIGINAL = "original"
EXPANSION = "expansion"
CORE = "core"
"""The expert that takes the place of a model's own MLP, where modules are experts."""
MLP = "mlp"
ATTENTION = "attention"
LOSS = "loss"
ORIGINAL_PARAMETERS = "original_parameters"


def parameters_of(module: str) -> str:
    """Return the name of a module's parameters in a route table.

    >>> parameters_of("forest")
    'forest_parameters'
    """
    return f"{module}_parameters"


def mask_of(module: str) -> str:
    """Return the name of a module's mask in a route table.

    >>> mask_of("forest")
    'forest_mask'
    """
    return f"{module}_mask"


EXPANSION_PARAMETERS = parameters_of(EXPANSION)
EXPANSION_MASK = mask_of(EXPANSION)


def targets(modules: Sequence[str] = (EXPANSION,)) -> tuple[str, ...]:
    """Return all targets of a model with the given modules."""
    parameters, masks = map(parameters_of, modules), map(mask_of, modules)
    return (
        *(HIDDEN, ORIGINAL, *modules, MLP, ATTENTION, LOSS),
        *(ORIGINAL_PARAMETERS, *parameters, *masks),
    )


TARGETS = targets()
"""All targets of a model whose expansion is one module."""


RESERVED = {*dir(nn.ModuleDict), "all_take_part", "silence", "penalty", "last_input"}
"""The attributes of `lm.models.layers.AddedModules`, which holds modules by their names."""


def require_modules(names: Sequence[str]) -> None:
    """Refuse names of modules that cannot be told apart or cannot be used in a model.

    Raises:
        ValueError: if there is none, one is given twice, has other characters than letters, digits,
            `-` and `_`, or is the name of another target or of a method of `torch.nn.ModuleDict`.
    """
    known = set(targets(()))
    odd = [
        name
        for name in names
        if not re.fullmatch(r"[\w-]+", name) or name in known or name in RESERVED
    ]
    if odd or not names or len(set(targets(names))) < len(targets(names)):
        raise ValueError(
            f"modules {', '.join(map(repr, odd or names)) or 'without a name'} were given: give "
            f"each module a name of its own of letters, digits, - and _, and none of "
            f"{', '.join(sorted(known))}"
        )


def require_expansion(units: int, layers: tuple[int, ...], num_layers: int) -> None:
    """Refuse an expansion that does not fit a model.

    Raises:
        ValueError: if the number of units is negative, there are units without layers or layers
            without units, or a layer is unknown or repeated.
    """
    known = len(set(layers)) == len(layers) and set(range(num_layers)).issuperset(layers)
    if units < 0 or (units > 0) != bool(layers) or not known:
        raise ValueError(
            f"an expansion of {units} units in the layers {layers} was given: give a positive "
            f"number of units and layers from 0 to {num_layers - 1}, each once, or neither"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class GPTConfig:
    """The shape of a GPT, including its expansion.

    Raises:
        ValueError: if the sizes do not fit together.
    """

    vocab_size: int = 2048
    """Tokens of the vocabulary."""
    width: int = 128
    """Features of the residual stream."""
    num_layers: int = 4
    """Blocks of attention and MLP."""
    num_heads: int = 4
    """Attention heads of a block."""
    context: int = 256
    """Maximum number of tokens."""
    expansion: int = 0
    """Hidden units that each module of the expansion adds to the MLP of each expanded layer."""
    expanded_layers: tuple[int, ...] = ()
    """Indices of the expanded layers."""
    added_embedding: bool = False
    """Whether each module of the expansion also has an embedding of tokens."""
    modules: tuple[str, ...] = (EXPANSION,)
    """Names of the modules of the expansion, if there is one."""
    expert_weights: tuple[float, ...] = ()
    """Weight of each module in a mean with the MLP of the core, whose weight is 1: modules are
    experts. Without weights, modules add to the core."""

    def __post_init__(self) -> None:
        sizes = (self.vocab_size, self.width, self.num_layers, self.num_heads, self.context)
        if min(sizes) < 1 or self.width % self.num_heads or self.width // self.num_heads % 2:
            raise ValueError(
                f"{self} cannot be built: give positive sizes and a width that splits into "
                "num_heads heads of an even number of features"
            )
        require_expansion(self.expansion, self.expanded_layers, self.num_layers)
        require_modules((CORE, *self.modules) if self.expert_weights else self.modules)
        self._require_expert_weights()

    def _require_expert_weights(self) -> None:
        """Refuse weights that are not those of the modules, or have no layer to be in."""
        weights = self.expert_weights
        if not weights:
            return
        whole = self.expansion > 0 and not self.added_embedding
        if not whole or len(weights) != len(self.modules) or not all(0 <= w <= 1 for w in weights):
            raise ValueError(
                f"expert_weights {weights} were given to the modules {', '.join(self.modules)}: "
                "give each of them a weight from 0 to 1, hidden units, and no embedding"
            )

    @property
    def hidden(self) -> int:
        """Hidden units of an MLP that is not expanded."""
        return 4 * self.width

    @property
    def plain(self) -> "GPTConfig":
        """The same shape without its expansion."""
        return replace(
            self,
            expansion=0,
            expanded_layers=(),
            added_embedding=False,
            modules=(EXPANSION,),
            expert_weights=(),
        )

    @property
    def expanded(self) -> bool:
        """Whether the shape has an expansion."""
        return self.expansion > 0 or self.added_embedding


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
    """Return a named shape, with another vocabulary size if one is given.

    Raises:
        ValueError: if there is no such name.

    >>> size("nano", vocab_size=512).vocab_size
    512
    """
    if name not in SIZES:
        raise ValueError(f"unknown size {name!r}: choose one of {', '.join(SIZES)}")
    return SIZES[name] if vocab_size is None else replace(SIZES[name], vocab_size=vocab_size)


@dataclass(frozen=True, kw_only=True, slots=True)
class AdapterConfig:
    """The size of adapters.

    With Adam, scaling the output of adapters has nearly the effect of a higher learning rate (Hu et
    al. 2021, section 4.1), and the best learning rate of adapters is 10 to 15 times that of whole
    matrices (Schulman et al. 2025, LoRA Without Regret). So alpha is 10 times the rank by default.

    Raises:
        ValueError: if a number is out of its range.
    """

    rank: int = 16
    """Rank of each adapter."""
    alpha: float = 160.0
    """The output of each adapter is scaled by alpha / rank."""

    def __post_init__(self) -> None:
        require_numbers(self, "rank", least=1)
        require_numbers(self, "alpha")
