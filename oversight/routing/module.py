"""The named points of a network at which gradient is routed, and the routes of one step."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from oversight.routing.gate import gate
from oversight.routing.table import RouteTable, refuse_name


class Gate(nn.Module):
    """A named point in a network: identity forward, the gradient weighted by target and route.

    It holds no parameters, and does nothing while gradients are off. While they are on it needs
    `routing`, and raises without it. `Gate("motivation")` guards the whole tensor;
    `Gate(original=2048, expansion=64)` guards slices of the last axis, each its own target. Two
    gates in a row multiply.

    A gate stops gradient below it, not beside it. In `nn.Sequential(trunk, Gate("shared"), down)`
    a blocked sample does not teach `trunk`, but it still teaches `down`, which reads the gated
    tensor; use `gate_parameters` to hold the reader back, or make it a target of its own.

    Args:
        target: the target of the whole tensor, instead of slices.
        sizes: the width of each target's slice of the last axis, in order.

    >>> table = RouteTable({"observed": {"motivation": 1}, "hidden": {"motivation": 0}})
    >>> net = nn.Sequential(nn.Linear(2, 3), Gate("motivation"))
    >>> with routing(net, table, table.routes(["hidden", "hidden"])):
    ...     net(torch.ones(2, 2)).sum().backward()
    >>> net[0].bias.grad
    tensor([0., 0., 0.])
    """

    def __init__(self, target: str | None = None, /, **sizes: int) -> None:
        super().__init__()
        if (target is None) == (not sizes) or any(size < 1 for size in sizes.values()):
            raise ValueError(
                f"a Gate was given the target {target!r} and the slices {sizes}: give either one "
                "target, Gate('shared'), or slices of positive width, Gate(original=8, added=2)"
            )
        self.targets: tuple[str, ...] = tuple(sizes) if target is None else (target,)
        self.sizes: tuple[int, ...] | None = tuple(sizes.values()) or None
        # a plain attribute, neither buffer nor global: torch.compile sees it change for free
        self.weights: Tensor | None = None  # [*route], or [*route, slices]
        self.passes = False  # whether the table lets every route through here

    def forward(self, x: Tensor) -> Tensor:
        """Return x; in the backward pass its gradient is weighted by the routes in force now."""
        weight = self.weight_for(x)
        return x if weight is None else gate(x, weight, self.sizes)

    def weight_for(self, x: Tensor) -> Tensor | None:
        """Return the weights in force now, shaped to broadcast against x, one column per slice.

        None if there is nothing to weigh: gradients are off, or every route passes. A module that
        weighs something else than a gradient's path, say its own parameters, may ask a Gate of its
        own for them.

        Raises:
            RuntimeError: outside `routing`, while gradients are on.
            ValueError: if the routes do not fit x.
        """
        if not torch.is_grad_enabled():
            return None
        if self.weights is None:
            raise RuntimeError(
                f"Gate({self.extra_repr()}) has no route: run forward and backward inside "
                "`with routing(model, table, route):`, or evaluate under torch.no_grad()"
            )
        route = self.weights.shape[:-1] if self.sizes else self.weights.shape
        rest = x.ndim - len(route)
        if x.shape[: len(route)] != route or (self.sizes and rest < 1):
            raise ValueError(
                f"a route of shape {tuple(route)} does not fit the input of "
                f"Gate({self.extra_repr()}), of shape {tuple(x.shape)}: the route's axes must be "
                "the first ones of the input, one route per sample or per token"
            )
        if self.passes:
            return None
        shape = [*route, *[1] * rest]
        if self.sizes:
            shape[-1] = len(self.sizes)
        return self.weights.reshape(shape)

    def extra_repr(self) -> str:
        """Return the constructor's arguments, for printing."""
        if self.sizes is None:
            return repr(self.targets[0])
        return ", ".join(f"{t}={n}" for t, n in zip(self.targets, self.sizes, strict=True))

    def __getstate__(self) -> dict[str, Any]:
        # a copy made inside `routing` would keep its route for ever
        return {**self.__dict__, "weights": None}


@contextmanager
def routing(model: nn.Module, table: RouteTable, route: Tensor) -> Iterator[None]:
    """Give every `Gate` of a model the weights of one step, by a table and its routes.

    Run forward and backward inside, both of the same step: activation checkpointing runs the
    forward pass again during the backward one, and reads the routes in force then.

    Args:
        model: a network with gates; it may be compiled, or wrapped for distributed training.
        table: the weight of each route at each target; it must know the targets of all gates.
        route: one integer per sample, [batch], or per token, [batch, time]; see
            `RouteTable.routes`. Its axes must be the first ones of every gated tensor. Put it on
            the model's device, or each gate copies it there.

    Raises:
        ValueError: if the model has no gate, a gate's target is not in the table, or the route is
            not made of the table's integers.
        RuntimeError: if the model is already being routed: contexts do not nest.

    >>> net = nn.Sequential(nn.Linear(1, 1), Gate("all"))
    >>> table = RouteTable({"half": {"all": 0.5}})
    >>> with routing(net, table, table.routes("half")):
    ...     net(torch.ones(1, 1)).sum().backward()
    >>> net[0].bias.grad
    tensor([0.5000])
    """
    gates = _gates(model)
    _check(gates, table)
    passed = table.passed
    columns = dict(zip(table.target_names, table.rows(route).unbind(-1), strict=True))
    try:
        for point in gates:
            weights = [columns[target] for target in point.targets]
            point.weights = torch.stack(weights, -1) if point.sizes else weights[0]
            point.passes = passed.issuperset(point.targets)
        yield
    finally:
        for point in gates:
            point.weights = None


def _gates(model: nn.Module) -> list[Gate]:
    """Return the gates of a model; a plain walk, several times as fast as `model.modules()`."""
    found: dict[int, nn.Module] = {}
    unseen = [model]
    while unseen:
        module = unseen.pop()
        if id(module) not in found:
            found[id(module)] = module
            unseen += module.children()
    return [module for module in found.values() if isinstance(module, Gate)]


def _check(gates: list[Gate], table: RouteTable) -> None:
    if not gates:
        raise ValueError(
            "the model has no Gate, so no gradient would be routed: put a Gate at each target"
        )
    for target in (target for point in gates for target in point.targets):
        if target not in table.target_names:
            refuse_name("target", target, table.target_names)
    if any(point.weights is not None for point in gates):
        raise RuntimeError(
            "the model is already being routed: close that `routing` context first; contexts do "
            "not nest, since a backward pass must see the routes of its own forward pass"
        )
