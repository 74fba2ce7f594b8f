"""The modules that are inserted into a plain model of Hugging Face, and where they go by family.

- `Wrapper` and its subclasses take the place of a plain module and hold it as `plain`.
- `Family` names the layers of a model type that get gates and an expansion.
- Added hidden units form an MLP parallel to the plain one, or are merged into a wider one.
- Adapters: a pair of low-rank updates at each linear map of a block, one to keep and one to ablate.
  The plain weights of the blocks are frozen (Hu et al. 2021, arXiv 2106.09685). The modules outside
  of the blocks (embeddings, last norm, output head) train with the adapter to keep, as the
  `modules_to_save` of peft do: without them a model hardly learns a new style or vocabulary. These
  are the target `original_parameters`; the other adapter is `expansion_parameters`, and a token
  sees it by its weight at `expansion_mask`. So route tables mean the same as with an expansion.

Shape suffixes: b batch, t tokens, d features.
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from lm.models.layers import (
    ATTENTION,
    EXPANSION,
    EXPANSION_PARAMETERS,
    HIDDEN,
    MLP,
    ORIGINAL,
    ORIGINAL_PARAMETERS,
    AdapterConfig,
    ExpansionMask,
    RoutedLinear,
)
from oversight.routing import Gate, gate_linear, gate_parameters

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Wrapper(nn.Module):
    """Replaces a module of a plain model, and holds it."""

    def __init__(self, plain: nn.Module) -> None:
        super().__init__()
        self.plain = plain


class ParameterGated(Wrapper):
    """A module whose parameters are a target; its output stays the same.

    Args:
        plain: a linear map or an embedding, which are gated at no cost, or any other module that
            maps one tensor to another token by token, which is computed twice.
        target: name of the parameters in a route table.
    """

    def __init__(self, plain: nn.Module, target: str) -> None:
        super().__init__(plain)
        self.parameter_gate = Gate(target)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the plain module."""
        if isinstance(self.plain, nn.Embedding):
            return self._look_up(x)
        weight = self.parameter_gate.weight_for(x)
        if weight is None:
            mapped: Tensor = self.plain(x)
            return mapped
        if type(self.plain) is nn.Linear:  # a subclass may compute something else
            return gate_linear(x, self.plain.weight, weight, self.plain.bias)
        return gate_parameters(self.plain, x, weight)

    def _look_up(self, numbers_bt: Tensor) -> Tensor:
        vectors: Tensor = self.plain(numbers_bt)
        route = self.parameter_gate.weights
        if route is not None and len(vectors) == 1:
            # position embeddings are looked up once for all rows, but each row has its routes
            vectors = vectors.expand(len(route), -1, -1)
        # a gate on the lookup multiplies the gradient of the embedding
        gated: Tensor = self.parameter_gate(vectors)
        return gated


class Gated(Wrapper):
    """A module with a Gate at its input, its output or both.

    Args:
        plain: a module that maps one tensor to another.
        before: the target at the input; None for no gate.
        after: the target at the output; None for no gate.
    """

    def __init__(
        self, plain: nn.Module, *, before: str | None = None, after: str | None = None
    ) -> None:
        super().__init__(plain)
        self.before = nn.Identity() if before is None else Gate(before)
        self.after = nn.Identity() if after is None else Gate(after)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the plain module."""
        y: Tensor = self.after(self.plain(self.before(x)))
        return y


class Expanded(Wrapper):
    """An MLP with added hidden units, which have their own parameters.

    Args:
        plain: the MLP.
        expansion: an MLP of the added units.
    """

    def __init__(self, plain: nn.Module, expansion: nn.Module) -> None:
        super().__init__(plain)
        self.expansion = expansion
        self.expansion_mask = ExpansionMask()

    def forward(self, x_btd: Tensor) -> Tensor:
        """Map [B, T, D] to itself, token by token."""
        y_btd: Tensor = self.plain(x_btd) + self.expansion_mask(self.expansion(x_btd))
        return y_btd


def gate_all_parameters(module: nn.Module, target: str, excluded: Iterable[nn.Module] = ()) -> None:
    """Wrap every submodule with direct parameters, so that these become a target.

    Args:
        module: the module, which is changed in place.
        target: name of its parameters in a route table.
        excluded: submodules to leave as they are.
    """
    skipped = {child for part in excluded for child in part.modules()}
    for name, child in list(module.named_modules()):
        if child not in skipped and next(child.parameters(recurse=False), None) is not None:
            module.set_submodule(name, ParameterGated(child, target))


def innermost(module: nn.Module) -> nn.Module:
    """Return the plain module inside all wrappers around it."""
    while isinstance(module, Wrapper):
        module = module.plain
    return module


def unwrap(module: nn.Module) -> nn.Module:
    """Return a module in which every wrapper is replaced by the module that it holds."""
    for name, child in module.named_children():
        module.set_submodule(name, unwrap(child))
    return module.plain if isinstance(module, Wrapper) else module


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """The names of the layers of a model type that get gates or are expanded."""

    layers: str
    """The list of blocks, within the model."""
    attention_output: str
    """The output projection of attention, within a block."""
    mlp: str = "mlp"
    """The MLP, within a block."""
    up_projs: tuple[str, ...]
    """The input projections of hidden units, within the MLP; gated units have two."""
    down_proj: str
    """The output projection of hidden units, within the MLP."""
    norm: str
    """The norm before the output head, within the model."""
    head: str = "lm_head"
    """The output head, within the model; it has no bias."""

    def blocks(self, model: "PreTrainedModel") -> nn.ModuleList:
        """Return the blocks of a model."""
        blocks = model.get_submodule(self.layers)
        assert isinstance(blocks, nn.ModuleList)
        return blocks


_LLAMA = Family(
    layers="model.layers",
    attention_output="self_attn.o_proj",
    up_projs=("gate_proj", "up_proj"),
    down_proj="down_proj",
    norm="model.norm",
)

FAMILIES = {
    "gpt_neo": Family(
        layers="transformer.h",
        attention_output="attn.attention.out_proj",
        up_projs=("c_fc",),
        down_proj="c_proj",
        norm="transformer.ln_f",
    ),
    "llama": _LLAMA,
    "qwen2": _LLAMA,
}
"""Families by `model_type`, as a model's `config.json` gives it."""


def family_of(model: "PreTrainedModel") -> Family:
    """Return the family of a plain model.

    Raises:
        ValueError: if the model type is unknown, or a named layer is not in the model.
    """
    family = FAMILIES.get(model.config.model_type)
    if family is None or not _fits(model, family):
        raise ValueError(
            f"{type(model).__name__} of type {model.config.model_type!r} lacks the layers that are "
            f"gated: give a plain causal model of one of the families {', '.join(FAMILIES)}"
        )
    return family


def _fits(model: "PreTrainedModel", family: Family) -> bool:
    """Return whether each named layer exists, and is a plain linear map."""
    try:
        model.get_submodule(family.norm)
        maps = [model.get_submodule(family.head)]
        for block in family.blocks(model):
            maps.append(block.get_submodule(family.attention_output))
            mlp = block.get_submodule(family.mlp)
            maps += [mlp.get_submodule(name) for name in (*family.up_projs, family.down_proj)]
    except AttributeError:
        return False
    return all(type(one) is nn.Linear for one in maps) and maps[0].bias is None


def insert_gates(block: nn.Module, family: Family, added: nn.Module | None) -> None:
    """Insert gates at the attention and the MLP of a block, and added hidden units if given."""
    mlp = block.get_submodule(family.mlp)
    _gate(mlp, family.down_proj, before=HIDDEN if added is None else ORIGINAL)
    if added is not None:
        gate_all_parameters(added, EXPANSION_PARAMETERS)
        _gate(added, family.down_proj, before=EXPANSION)
        block.set_submodule(family.mlp, Expanded(mlp, added))
    _gate(block, family.mlp, after=MLP)
    _gate(block, family.attention_output, after=ATTENTION)


def _gate(module: nn.Module, name: str, **targets: str) -> None:
    module.set_submodule(name, Gated(module.get_submodule(name), **targets))


def zero_units(mlp: nn.Module, family: Family, units: int) -> nn.Module:
    """Return an MLP like a plain one with another number of hidden units, all weights zero.

    It has no output bias, which belongs to no unit.
    """
    added = copy.deepcopy(mlp)
    for name in family.up_projs:
        plain = _linear(mlp, name)
        added.set_submodule(name, _zeros(plain, plain.in_features, units, plain.bias is not None))
    plain = _linear(mlp, family.down_proj)
    added.set_submodule(family.down_proj, _zeros(plain, units, plain.out_features, bias=False))
    _note_units(added, units)
    return added


@torch.no_grad()
def drawn_units(
    mlp: nn.Module, family: Family, units: int, generator: torch.Generator
) -> nn.Module:
    """Return an MLP of hidden units with random input weights and zero output weights.

    The input weights have the standard deviation of those of the plain MLP, which fits the scale of
    its input.
    """
    added = zero_units(mlp, family, units)
    for name in family.up_projs:
        weight, deviation = _linear(added, name).weight, _linear(mlp, name).weight.float().std()
        # drawn on the CPU, so that a seed gives the same weights on every device
        weight.copy_(torch.randn(weight.shape, generator=generator) * deviation.cpu())
    return added


@torch.no_grad()
def widen(mlp: nn.Module, added: nn.Module, family: Family) -> None:
    """Append the hidden units of another MLP to those of a plain one."""
    for name in family.up_projs:
        mlp.set_submodule(name, _joined(_linear(mlp, name), _linear(added, name), axis=0))
    down_proj = _joined(_linear(mlp, family.down_proj), _linear(added, family.down_proj), axis=1)
    mlp.set_submodule(family.down_proj, down_proj)
    _note_units(mlp, down_proj.in_features)


def _joined(first: nn.Linear, second: nn.Linear, axis: int) -> nn.Linear:
    """Return a linear map with the outputs (axis 0) or the inputs (axis 1) of both."""
    weight = torch.cat([first.weight, second.weight], axis)
    joined = _zeros(first, weight.shape[1], weight.shape[0], first.bias is not None)
    joined.weight.copy_(weight)
    if first.bias is not None:
        joined.bias.copy_(torch.cat([first.bias, second.bias]) if axis == 0 else first.bias)
    return joined


def _zeros(like: nn.Linear, inputs: int, outputs: int, bias: bool) -> nn.Linear:
    # without initialization, which would advance the caller's random numbers
    made = skip_init(  # type: ignore[no-untyped-call]
        nn.Linear, inputs, outputs, bias=bias, device=like.weight.device, dtype=like.weight.dtype
    )
    assert isinstance(made, nn.Linear)
    for parameter in made.parameters():
        nn.init.zeros_(parameter)
    return made


def _linear(mlp: nn.Module, name: str) -> nn.Linear:
    linear = mlp.get_submodule(name)
    assert isinstance(linear, nn.Linear)
    return linear


def _note_units(mlp: nn.Module, units: int) -> None:
    if hasattr(mlp, "intermediate_size"):  # an attribute that no computation reads
        mlp.intermediate_size = units  # type: ignore[assignment]


class Adapter(nn.Module):
    """A linear map of low rank, `alpha / rank * B A`, which is zero at first.

    Args:
        plain: the parallel map, which gives inputs, outputs, device and dtype.
        config: the rank and the scale of the adapter.
        target: name of the parameters in a route table.
        generator: draws A, with standard deviation 1 / sqrt(inputs).
    """

    def __init__(
        self, plain: nn.Linear, config: AdapterConfig, target: str, generator: torch.Generator
    ) -> None:
        super().__init__()
        rank, self.scale = config.rank, config.alpha / config.rank
        self.lora_a = RoutedLinear(plain.in_features, rank, target).to(plain.weight)
        self.lora_b = RoutedLinear(rank, plain.out_features, target).to(plain.weight)
        # drawn on the CPU, so that a seed gives the same weights on every device
        drawn = torch.randn(rank, plain.in_features, generator=generator)
        with torch.no_grad():
            self.lora_a.weight.copy_(drawn * plain.in_features**-0.5)
            self.lora_b.weight.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., inputs] to [..., outputs]."""
        written: Tensor = self.lora_b(self.scale * self.lora_a(x))
        return written

    @property
    def product(self) -> Tensor:
        """The matrix that the adapter adds to the plain one, [outputs, inputs]."""
        return self.scale * self.lora_b.weight @ self.lora_a.weight


class Adapted(Wrapper):
    """A frozen linear map with a pair of adapters, one to keep and one to ablate.

    Args:
        plain: the linear map, whose weights the caller freezes.
        config: the rank and the scale of each adapter.
        generator: draws the initial weights.
    """

    def __init__(self, plain: nn.Linear, config: AdapterConfig, generator: torch.Generator) -> None:
        super().__init__(plain)
        self.kept = Adapter(plain, config, ORIGINAL_PARAMETERS, generator)
        self.ablatable = Adapter(plain, config, EXPANSION_PARAMETERS, generator)
        self.expansion_mask = ExpansionMask()

    def forward(self, x_btd: Tensor) -> Tensor:
        """Map [B, T, inputs] to [B, T, outputs]."""
        y_btd: Tensor = (
            self.plain(x_btd) + self.kept(x_btd) + self.expansion_mask(self.ablatable(x_btd))
        )
        return y_btd

    @torch.no_grad()
    def merge(self, *, ablated: bool) -> None:
        """Merge the adapters into the plain weights, without the one to ablate if `ablated`."""
        assert isinstance(self.plain, nn.Linear)
        self.plain.weight.add_(self.kept.product)
        if not ablated:
            self.plain.weight.add_(self.ablatable.product)


def adapt(plain: nn.Module, blocks: nn.ModuleList, config: AdapterConfig, seed: int) -> None:
    """Freeze the blocks of a plain model, and add a pair of adapters to each linear map in them."""
    generator = torch.Generator().manual_seed(seed)
    gate_all_parameters(plain, ORIGINAL_PARAMETERS, excluded=blocks)
    for block in blocks:
        block.requires_grad_(False)
        for name, module in list(block.named_modules()):
            if type(module) is nn.Linear:
                block.set_submodule(name, Adapted(module, config, generator))
