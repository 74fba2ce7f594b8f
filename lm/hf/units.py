"""Hidden units: an MLP of a few more, and a wider MLP that has them all."""

import copy

import torch
from torch import nn
from torch.nn.utils import skip_init

from lm.hf.families import Family


def silent_units(mlp: nn.Module, family: Family, units: int) -> nn.Module:
    """Return an MLP like a plain one, of so many hidden units, whose weights are all zero.

    It has no bias where it writes, since that belongs to no unit.
    """
    added = copy.deepcopy(mlp)
    for name in family.reading:
        plain = _linear(mlp, name)
        added.set_submodule(name, _zeros(plain, plain.in_features, units, plain.bias is not None))
    plain = _linear(mlp, family.writing)
    added.set_submodule(family.writing, _zeros(plain, units, plain.out_features, bias=False))
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
    for name in family.reading:
        weight, deviation = _linear(added, name).weight, _linear(mlp, name).weight.float().std()
        # drawn on the CPU, so that a seed means the same on every device
        weight.copy_(torch.randn(weight.shape, generator=generator) * deviation.cpu())
    return added


@torch.no_grad()
def widen(mlp: nn.Module, added: nn.Module, family: Family) -> None:
    """Give a plain MLP the hidden units of another, after its own."""
    for name in family.reading:
        mlp.set_submodule(name, _joined(_linear(mlp, name), _linear(added, name), axis=0))
    writing = _joined(_linear(mlp, family.writing), _linear(added, family.writing), axis=1)
    mlp.set_submodule(family.writing, writing)
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
