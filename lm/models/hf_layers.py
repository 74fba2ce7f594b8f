"""The modules that are inserted into a plain model of Hugging Face.

- `Wrapper` and its subclasses take the place of a plain module and hold it as `plain`.
- Added hidden units form an MLP parallel to the plain one, or are merged into a wider one.
- Adapters: low-rank updates at each linear map of a block, one to keep and one for each module.
  The plain weights of the blocks are frozen (Hu et al. 2021, arXiv 2106.09685). The parts outside
  of the blocks (embeddings, last norm, output head) train with the adapter to keep, as the
  `modules_to_save` of peft do: without them a model hardly learns a new style or vocabulary. These
  are the target `original_parameters`; the adapter of the module `expansion` is
  `expansion_parameters`, and a token sees it by its weight at `expansion_mask`. So route tables
  mean the same as with added hidden units.

Shape suffixes: b batch, t tokens, d features.
"""

import copy
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from lm.models.hf_architecture import Architecture, is_linear, is_transposed, matrix_of
from lm.models.layers import ModuleMask, RoutedLinear
from lm.models.shapes import (
    ATTENTION,
    HIDDEN,
    MLP,
    ORIGINAL,
    ORIGINAL_PARAMETERS,
    AdapterConfig,
    parameters_of,
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
        heads_first: whether the input is [B, heads, T, features] instead of [B, T, ...].
    """

    def __init__(self, plain: nn.Module, target: str, *, heads_first: bool = False) -> None:
        super().__init__(plain)
        self.parameter_gate, self.heads_first = Gate(target), heads_first

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the plain module."""
        if isinstance(self.plain, nn.Embedding):
            return self._look_up(x)
        weight = self.parameter_gate.weight_for(x.transpose(1, 2) if self.heads_first else x)
        if weight is None:
            mapped: Tensor = self.plain(x)
            return mapped
        if is_linear(self.plain):
            assert self.plain.bias is None or isinstance(self.plain.bias, Tensor)
            return gate_linear(x, matrix_of(self.plain), weight, self.plain.bias)
        if self.heads_first:
            weight = weight.transpose(1, 2)
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


class Masked(Wrapper):
    """A part of a module, whose output is multiplied by the module's mask.

    Args:
        plain: the part.
        module: name of the module.
    """

    def __init__(self, plain: nn.Module, module: str) -> None:
        super().__init__(plain)
        self.mask = ModuleMask(module)

    def forward(self, x: Tensor) -> Tensor:
        """Return the masked output of the part."""
        y: Tensor = self.mask(self.plain(x))
        return y


class Expanded(Wrapper):
    """An MLP with hidden units that modules have added, which have their own parameters.

    Args:
        plain: the MLP.
        added: an MLP of the added units of each module, by its name.
    """

    def __init__(self, plain: nn.Module, added: Mapping[str, nn.Module]) -> None:
        super().__init__(plain)
        self.added = nn.ModuleDict({name: Masked(mlp, name) for name, mlp in added.items()})

    def forward(self, x_btd: Tensor) -> Tensor:
        """Map [B, T, D] to itself, token by token."""
        y_btd: Tensor = self.plain(x_btd)
        for added in self.added.values():
            y_btd = y_btd + added(x_btd)
        return y_btd


def gate_all_parameters(
    module: nn.Module,
    target: str,
    excluded: Iterable[nn.Module] = (),
    heads_first: Collection[str] = (),
) -> None:
    """Wrap every submodule with direct parameters, so that these become a target.

    Args:
        module: the module, which is changed in place.
        target: name of its parameters in a route table.
        excluded: submodules to leave as they are.
        heads_first: names of submodules that read [B, heads, T, features].
    """
    skipped = {child for part in excluded for child in part.modules()}
    for name, child in list(module.named_modules()):
        if child not in skipped and next(child.parameters(recurse=False), None) is not None:
            gated = ParameterGated(child, target, heads_first=name in heads_first)
            module.set_submodule(name, gated)


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


def gate_plain_parameters(plain: nn.Module, architecture: Architecture) -> None:
    """Wrap every module of a plain model with direct parameters, as one target."""
    blocks = len(list(plain.get_submodule(architecture.layers).children()))
    heads_first = {
        f"{architecture.layers}.{block}.{name}"
        for block in range(blocks)
        for name in architecture.heads_first
    }
    gate_all_parameters(plain, ORIGINAL_PARAMETERS, heads_first=heads_first)


def insert_gates(
    block: nn.Module, architecture: Architecture, added: Mapping[str, nn.Module]
) -> None:
    """Insert gates at the attention and the MLP of a block, and hidden units added by modules."""
    mlp, down_proj = block.get_submodule(architecture.mlp), architecture.down_proj
    # at the projection, since the MLPs of some families also add the residual stream
    _gate(mlp, down_proj, before=ORIGINAL if added else HIDDEN, after=MLP)
    for name, units in added.items():
        gate_all_parameters(units, parameters_of(name))
        _gate(units, down_proj, before=name, after=MLP)
    if added:
        block.set_submodule(architecture.mlp, Expanded(mlp, added))
    _gate(block, architecture.attention_output, after=ATTENTION)


def _gate(module: nn.Module, name: str, **targets: str) -> None:
    module.set_submodule(name, Gated(module.get_submodule(name), **targets))


def zero_units(mlp: nn.Module, architecture: Architecture, units: int) -> nn.Module:
    """Return an MLP like a plain one with another number of hidden units, all weights zero.

    It has no output bias, which belongs to no unit.
    """
    # all weights are replaced, so that they need not be copied
    added = copy.deepcopy(mlp, {id(each): each for each in mlp.parameters()})
    for name in architecture.up_projs:
        plain, fused = mlp.get_submodule(name), _fused(mlp, name, architecture)
        inputs = matrix_of(plain).shape[1]
        added.set_submodule(name, _zeros(plain, inputs, fused * units, plain.bias is not None))
    plain = mlp.get_submodule(architecture.down_proj)
    outputs = matrix_of(plain).shape[0]
    added.set_submodule(architecture.down_proj, _zeros(plain, units, outputs, bias=False))
    _note_units(added, units)
    return added


def hidden_units(mlp: nn.Module, architecture: Architecture) -> int:
    """Return the number of hidden units of a plain MLP."""
    return matrix_of(mlp.get_submodule(architecture.down_proj)).shape[1]


UNITS_SETTINGS = ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size")
"""Settings of configurations that give the number of hidden units of all MLPs."""


def units_setting(plain: "PreTrainedModel", architecture: Architecture) -> str:
    """Return the setting of a model's configuration that gives the hidden units of its MLPs.

    Raises:
        ValueError: if there is none, or the hidden units of an MLP are not independent.
    """
    mlp = architecture.blocks(plain)[0].get_submodule(architecture.mlp)
    wider = hidden_units(mlp, architecture) + 1
    for name in UNITS_SETTINGS:
        config = copy.deepcopy(plain.config)
        if hasattr(config, name):
            setattr(config, name, wider)
            with torch.device("meta"):
                changed = architecture.blocks(type(plain)(config))[0]
            if hidden_units(changed.get_submodule(architecture.mlp), architecture) == wider:
                _require_independent(mlp, architecture)
                return name
    raise ValueError(
        f"no setting of {type(plain.config).__name__} gives the number of hidden units, so that "
        f"none can be added: {_OTHERWISE}"
    )


_OTHERWISE = "choose a method without added units, such as lora-pair, or another model"


def _fused(mlp: nn.Module, name: str, architecture: Architecture) -> int:
    """Return the number of matrices that an input projection holds below each other."""
    return matrix_of(mlp.get_submodule(name)).shape[0] // hidden_units(mlp, architecture)


@torch.no_grad()
def drawn_units(
    mlp: nn.Module, architecture: Architecture, units: int, generator: torch.Generator
) -> nn.Module:
    """Return an MLP of hidden units with random input weights and zero output weights.

    The input weights have the standard deviation of those of the plain MLP, which fits the scale of
    its input.
    """
    added = zero_units(mlp, architecture, units)
    for name in architecture.up_projs:
        deviation = matrix_of(mlp.get_submodule(name)).float().std()
        weight = matrix_of(added.get_submodule(name))
        # drawn on the CPU, so that a seed gives the same weights on every device
        weight.copy_(torch.randn(weight.shape, generator=generator) * deviation.cpu())
    return added


@torch.no_grad()
def widen(mlp: nn.Module, added: nn.Module, architecture: Architecture, scale: float = 1.0) -> None:
    """Append the hidden units of another MLP, what they write scaled, to those of a plain one."""
    down_proj = architecture.down_proj
    matrix_of(added.get_submodule(down_proj)).mul_(scale)
    for name in architecture.up_projs:
        _append(
            mlp.get_submodule(name), added.get_submodule(name), 0, _fused(mlp, name, architecture)
        )
    _append(mlp.get_submodule(down_proj), added.get_submodule(down_proj), axis=1)
    _note_units(mlp, hidden_units(mlp, architecture))


@torch.no_grad()
def _require_independent(mlp: nn.Module, architecture: Architecture) -> None:
    """Raise a ValueError unless hidden units of an MLP are independent of each other.

    Then an MLP computes the sum of what two MLPs of some of its units compute.
    """
    generator = torch.Generator().manual_seed(0)
    first, second = (zero_units(mlp, architecture, 2).eval() for _ in range(2))
    for parameter in (*first.parameters(), *second.parameters()):
        parameter.copy_(torch.randn(parameter.shape, generator=generator))
    matrix = matrix_of(mlp.get_submodule(architecture.down_proj))
    x_btd = torch.randn(1, 4, matrix.shape[0], generator=generator).to(matrix)
    expected_btd = first(x_btd) + second(x_btd)
    widen(first, second, architecture)
    if not torch.allclose(first(x_btd), expected_btd, atol=0.1, rtol=0.1):
        raise ValueError(
            f"{type(mlp).__name__} mixes its hidden units, so that none can be added: {_OTHERWISE}"
        )


def _append(plain: nn.Module, added: nn.Module, axis: int, fused: int = 1) -> None:
    """Append the outputs (axis 0) or the inputs (axis 1) of a linear map to those of another."""

    def joined(first: Tensor, second: Tensor) -> Tensor:
        pairs = zip(first.chunk(fused, axis), second.chunk(fused, axis), strict=True)
        return torch.cat([part for pair in pairs for part in pair], axis)

    matrix = joined(matrix_of(plain), matrix_of(added))
    transposed = is_transposed(plain)
    plain.weight = nn.Parameter(matrix.T.contiguous() if transposed else matrix)
    if isinstance(plain.bias, Tensor) and isinstance(added.bias, Tensor):
        plain.bias = nn.Parameter(joined(plain.bias, added.bias))
    names = ("nf", "nx") if transposed else ("out_features", "in_features")
    for name, size in zip(names, matrix.shape, strict=True):
        setattr(plain, name, size)


def _zeros(like: nn.Module, inputs: int, outputs: int, bias: bool) -> nn.Linear:
    weight = matrix_of(like)
    # without initialization, which would advance the caller's random numbers
    made = skip_init(  # type: ignore[no-untyped-call]
        nn.Linear, inputs, outputs, bias=bias, device=weight.device, dtype=weight.dtype
    )
    assert isinstance(made, nn.Linear)
    for parameter in made.parameters():
        nn.init.zeros_(parameter)
    return made


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
        self, plain: nn.Module, config: AdapterConfig, target: str, generator: torch.Generator
    ) -> None:
        super().__init__()
        rank, self.scale = config.rank, config.alpha / config.rank
        matrix = matrix_of(plain)
        outputs, inputs = matrix.shape
        self.lora_a = RoutedLinear(inputs, rank, target).to(matrix)
        self.lora_b = RoutedLinear(rank, outputs, target).to(matrix)
        # drawn on the CPU, so that a seed gives the same weights on every device
        drawn = torch.randn(rank, inputs, generator=generator)
        with torch.no_grad():
            self.lora_a.weight.copy_(drawn * inputs**-0.5)
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
    """A frozen linear map with an adapter to keep and one for each module.

    Args:
        plain: the linear map, whose weights the caller freezes.
        config: the rank and the scale of each adapter.
        modules: names of the modules.
        generator: draws the initial weights.
    """

    def __init__(
        self,
        plain: nn.Module,
        config: AdapterConfig,
        modules: Sequence[str],
        generator: torch.Generator,
    ) -> None:
        super().__init__(plain)
        self.kept = Adapter(plain, config, ORIGINAL_PARAMETERS, generator)
        self.added = nn.ModuleDict(
            {
                name: Masked(Adapter(plain, config, parameters_of(name), generator), name)
                for name in modules
            }
        )

    def forward(self, x_btd: Tensor) -> Tensor:
        """Map [B, T, inputs] to [B, T, outputs]."""
        y_btd: Tensor = self.plain(x_btd) + self.kept(x_btd)
        for added in self.added.values():
            y_btd = y_btd + added(x_btd)
        return y_btd

    @torch.no_grad()
    def merge(self, scales: Mapping[str, float]) -> None:
        """Merge adapters into the plain weights: the one to keep, and those of some modules.

        Args:
            scales: scale of the adapter of each module that is merged, by name.
        """
        matrix = matrix_of(self.plain)
        matrix.add_(self.kept.product)
        for name, scale in scales.items():
            adapter = innermost(self.added[name])
            assert isinstance(adapter, Adapter)
            matrix.add_(adapter.product, alpha=scale)


def adapt(
    plain: nn.Module,
    blocks: nn.ModuleList,
    config: AdapterConfig,
    modules: Sequence[str],
    seed: int,
) -> None:
    """Freeze the blocks of a plain model, and add adapters to each linear map in them."""
    generator = torch.Generator().manual_seed(seed)
    gate_all_parameters(plain, ORIGINAL_PARAMETERS, excluded=blocks)
    for block in blocks:
        block.requires_grad_(False)
        for name, module in list(block.named_modules()):
            if is_linear(module):
                block.set_submodule(name, Adapted(module, config, modules, generator))
