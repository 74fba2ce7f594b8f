"""What is put around the modules of a plain model; each holds the module it replaces as `plain`.

Shape suffixes: b batch, t tokens, d features.

Where the layers are that are gated and expanded, family by family.

Where Gates are in a block of a plain model, and what is beside its MLP.

Hidden units: an MLP of a few more, and a wider MLP that has them all.

A pair of low-rank adapters at each linear map of a block: one to keep, one to ablate.

The plain weights of blocks are frozen (Hu et al. 2021, arXiv 2106.09685). What is outside of them,
embeddings, last norm and output head, trains with the adapter to keep (`modules_to_save` of peft):
a style or a vocabulary that is new to the model is hard to learn without. These are the target
`original_parameters`, the other adapter is `expansion_parameters`, and a token sees that one by its
weight at `expansion_mask`; so route tables mean the same as with an expansion.
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
    ExpansionMask,
    RoutedLinear,
)
from oversight.routing import Gate, gate_linear, gate_parameters

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Wrapper(nn.Module):
    """Stands in the place of a module of a plain model."""

    def __init__(self, plain: nn.Module) -> None:
        super().__init__()
        self.plain = plain


class ParameterGated(Wrapper):
    """A module that each token teaches by its weight at a target; what it computes is the same.

    Args:
        plain: a linear map or an embedding, which cost nothing more, or any other module that maps
            one tensor to another token by token, which is computed twice.
        target: the name of its parameters in a route table.
    """

    def __init__(self, plain: nn.Module, target: str) -> None:
        super().__init__(plain)
        self.parameter_gate = Gate(target)

    def forward(self, x: Tensor) -> Tensor:
        """Map x as the plain module does."""
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
        looked_up: Tensor = self.plain(numbers_bt)
        route = self.parameter_gate.weights
        if route is not None and len(looked_up) == 1:
            # positions are looked up once for all rows, of which each has a route
            looked_up = looked_up.expand(len(route), -1, -1)
        # weighing what the lookup gives weighs what it teaches the embedding
        taught: Tensor = self.parameter_gate(looked_up)
        return taught


class Gated(Wrapper):
    """A module with a Gate at what it reads, or at what it writes.

    Args:
        plain: maps one tensor to another.
        before: the target at what it reads, if any.
        after: the target at what it writes, if any.
    """

    def __init__(
        self, plain: nn.Module, *, before: str | None = None, after: str | None = None
    ) -> None:
        super().__init__(plain)
        self.before = nn.Identity() if before is None else Gate(before)
        self.after = nn.Identity() if after is None else Gate(after)

    def forward(self, x: Tensor) -> Tensor:
        """Map x as the plain module does."""
        y: Tensor = self.after(self.plain(self.before(x)))
        return y


class Expanded(Wrapper):
    """An MLP with added hidden units, whose weights are parameters of their own.

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


def teach(module: nn.Module, target: str, leaving: Iterable[nn.Module] = ()) -> None:
    """Wrap each module within a module that has parameters itself, so that a target holds them.

    Args:
        module: what is changed.
        target: the name of its parameters in a route table.
        leaving: parts of it that stay as they are.
    """
    left = {child for part in leaving for child in part.modules()}
    for name, child in list(module.named_modules()):
        if child not in left and next(child.parameters(recurse=False), None) is not None:
            module.set_submodule(name, ParameterGated(child, target))


def innermost(module: nn.Module) -> nn.Module:
    """Return the plain module that all the wrappers around it hold."""
    while isinstance(module, Wrapper):
        module = module.plain
    return module


def unwrap(module: nn.Module) -> nn.Module:
    """Return a module with every wrapper in it replaced by what it holds."""
    for name, child in module.named_children():
        module.set_submodule(name, unwrap(child))
    return module.plain if isinstance(module, Wrapper) else module


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """The names of some layers of a model; all others are found by having parameters."""

    layers: str
    """the list of blocks, within the model"""
    attention_output: str
    """the map by which attention writes to the residual stream, within a block"""
    mlp: str = "mlp"
    """the MLP, within a block"""
    up_projs: tuple[str, ...]
    """the maps by which hidden units read, within the MLP; gated units have two"""
    down_proj: str
    """the map by which hidden units write, within the MLP"""
    norm: str
    """the norm before the output head, within the model"""
    head: str = "lm_head"
    """the output head, within the model; it has no bias"""

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
        ValueError: if the family is not known, or a layer that it names is not in the model.
    """
    family = FAMILIES.get(model.config.model_type)
    if family is None or not _fits(model, family):
        raise ValueError(
            f"{type(model).__name__} of type {model.config.model_type!r} lacks the layers that are "
            f"gated: give a plain causal model of one of the families {', '.join(FAMILIES)}"
        )
    return family


def _fits(model: "PreTrainedModel", family: Family) -> bool:
    """Return whether each named map is there, and plain."""
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
    """Put Gates around the attention and the MLP of a block, and hidden units beside the MLP's."""
    mlp = block.get_submodule(family.mlp)
    _gate(mlp, family.down_proj, before=HIDDEN if added is None else ORIGINAL)
    if added is not None:
        teach(added, EXPANSION_PARAMETERS)
        _gate(added, family.down_proj, before=EXPANSION)
        block.set_submodule(family.mlp, Expanded(mlp, added))
    _gate(block, family.mlp, after=MLP)
    _gate(block, family.attention_output, after=ATTENTION)


def _gate(module: nn.Module, name: str, **targets: str) -> None:
    module.set_submodule(name, Gated(module.get_submodule(name), **targets))


def silent_units(mlp: nn.Module, family: Family, units: int) -> nn.Module:
    """Return an MLP like a plain one, of so many hidden units, whose weights are all zero.

    It has no bias where it writes, since that belongs to no unit.
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
    """Return an MLP of hidden units that read by random weights, and write nothing yet.

    The weights that they read by have the deviation of those of the plain MLP, which fits the
    scale of what it reads.
    """
    added = silent_units(mlp, family, units)
    for name in family.up_projs:
        weight, deviation = _linear(added, name).weight, _linear(mlp, name).weight.float().std()
        # drawn on the CPU, so that a seed means the same on every device
        weight.copy_(torch.randn(weight.shape, generator=generator) * deviation.cpu())
    return added


@torch.no_grad()
def widen(mlp: nn.Module, added: nn.Module, family: Family) -> None:
    """Give a plain MLP the hidden units of another, after its own."""
    for name in family.up_projs:
        mlp.set_submodule(name, _joined(_linear(mlp, name), _linear(added, name), axis=0))
    writing = _joined(_linear(mlp, family.down_proj), _linear(added, family.down_proj), axis=1)
    mlp.set_submodule(family.down_proj, writing)
    _note_units(mlp, writing.in_features)


def _joined(first: nn.Linear, second: nn.Linear, axis: int) -> nn.Linear:
    """Return a linear map with the outputs (axis 0) or the inputs (axis 1) of both."""
    weight = torch.cat([first.weight, second.weight], axis)
    joined = _zeros(first, weight.shape[1], weight.shape[0], first.bias is not None)
    joined.weight.copy_(weight)
    if first.bias is not None:
        joined.bias.copy_(torch.cat([first.bias, second.bias]) if axis == 0 else first.bias)
    return joined


def _zeros(like: nn.Linear, inputs: int, outputs: int, bias: bool) -> nn.Linear:
    # not drawn, which would change the random numbers of whoever calls
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
    if hasattr(mlp, "intermediate_size"):  # an attribute that nothing computes with
        mlp.intermediate_size = units  # type: ignore[assignment]


@dataclass(frozen=True, kw_only=True, slots=True)
class AdapterConfig:
    """The size of adapters.

    With Adam, what they write is scaled to the same end as a learning rate is raised (Hu et al.
    2021, section 4.1), and theirs is best 10 to 15 times that of whole matrices (Schulman et al.
    2025, LoRA Without Regret). So is alpha 10 times the rank by default.

    Raises:
        ValueError: if a number is out of its range.
    """

    rank: int = 16
    """rank of each"""
    alpha: float = 160.0
    """what each writes is scaled by this over its rank"""

    def __post_init__(self) -> None:
        if self.rank < 1 or not self.alpha > 0:
            raise ValueError(
                f"adapters of rank {self.rank} and alpha {self.alpha} were asked for: give a rank "
                "of 1 or more, and an alpha above 0"
            )


class Adapter(nn.Module):
    """A linear map of low rank that writes nothing at first.

    Args:
        plain: the map that it is beside; its inputs, outputs, device and type.
        config: rank and scale.
        target: the name of its parameters in a route table.
        generator: of the weights that it reads by, with deviation 1 over the root of the inputs.
    """

    def __init__(
        self, plain: nn.Linear, config: AdapterConfig, target: str, generator: torch.Generator
    ) -> None:
        super().__init__()
        rank, self.scale = config.rank, config.alpha / config.rank
        self.reading = RoutedLinear(plain.in_features, rank, target).to(plain.weight)
        self.writing = RoutedLinear(rank, plain.out_features, target).to(plain.weight)
        # drawn on the CPU, so that a seed means the same on every device
        drawn = torch.randn(rank, plain.in_features, generator=generator)
        with torch.no_grad():
            self.reading.weight.copy_(drawn * plain.in_features**-0.5)
            self.writing.weight.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., inputs] to [..., outputs]."""
        written: Tensor = self.writing(self.scale * self.reading(x))
        return written

    @property
    def product(self) -> Tensor:
        """The matrix that it adds to the plain one, [outputs, inputs]."""
        return self.scale * self.writing.weight @ self.reading.weight


class Adapted(Wrapper):
    """A frozen linear map with both adapters beside it.

    Args:
        plain: the map.
        config: of each adapter.
        generator: of their first weights.
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
        """Add to the plain weights what the adapters do, without the one to ablate if asked."""
        assert isinstance(self.plain, nn.Linear)
        self.plain.weight.add_(self.kept.product)
        if not ablated:
            self.plain.weight.add_(self.ablatable.product)


def adapt(plain: nn.Module, blocks: nn.ModuleList, config: AdapterConfig, seed: int) -> None:
    """Freeze the blocks of a plain model, and put a pair of adapters at each linear map of them."""
    generator = torch.Generator().manual_seed(seed)
    teach(plain, ORIGINAL_PARAMETERS, leaving=blocks)
    for block in blocks:
        block.requires_grad_(False)
        for name, module in list(block.named_modules()):
            if type(module) is nn.Linear:
                block.set_submodule(name, Adapted(module, config, generator))
