"""Gates: named points of a network at which the gradient of each sample is weighted by its route.

- `gate` is the one mechanism: an identity whose gradient is weighted on the way back.
- `Gate` is the module that stands at a target, and `routing` gives all gates the routes of a step.
- A gate may be told to select rows, so that samples of weight 0 need not be computed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from inspect import signature
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from oversight.routing.table import RouteTable, refuse_name


def gate(x: Tensor, weight: Tensor | float, sizes: Sequence[int] | None = None) -> Tensor:
    """Return `x` unchanged, and multiply its gradient by `weight` in the backward pass.

    This is the routed derivative of Cloud et al. 2024 (arXiv 2410.04332), section 3. A weight of 1
    passes the gradient, a fraction dampens it, a negative weight reverses it, and a weight of 0
    blocks it: the result is exactly 0, even where the arriving gradient is infinite or NaN.

    A gate stops gradient below it, not beside it: in `down(gate(x, 0.0))` the weights of `down`
    still learn. The result shares memory with `x`, so PyTorch refuses to change it in place.

    Args:
        x: the activation to guard.
        weight: a number, or a tensor of no dimensions, or one with as many dimensions as `x`, each
            of them 1 or that of `x`. Only the weight is kept for the backward pass.
        sizes: how the last axis of `x` splits into slices. The last axis of `weight` then holds
            one weight per slice, and is widened only while the gradient passes.

    Raises:
        ValueError: if `weight` or `sizes` does not fit `x`.

    >>> x = torch.ones(2, 3, requires_grad=True)
    >>> gate(x, torch.tensor([[1.0], [0.0]])).sum().backward()
    >>> x.grad
    tensor([[1., 1., 1.],
            [0., 0., 0.]])
    """
    if not isinstance(weight, Tensor):
        weight = x.new_full((), weight)
    _require_fit(tuple(x.shape), tuple(weight.shape), sizes)
    slices = None if sizes is None else tuple(sizes)
    weight = weight.to(x.device, x.dtype)
    gated: Tensor = _Gate.apply(x, weight, slices)  # type: ignore[no-untyped-call]
    return gated


class _Gate(Function):
    """Identity forward, weighted backward; its backward is made of ordinary operations."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, sizes: tuple[int, ...] | None) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ANN401
        _, weight, ctx.sizes = inputs
        ctx.save_for_backward(weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        (weight,) = ctx.saved_tensors
        if ctx.sizes is None:
            return weigh(grad, weight), None, None
        # [..., slices] weights against [..., features] gradients
        parts = zip(torch.split(grad, ctx.sizes, -1), torch.split(weight, 1, -1), strict=True)
        return torch.cat([weigh(part, one) for part, one in parts], -1), None, None


# `apply` asks for it at every call, and would take longer to derive it than to gate
_Gate.forward.__signature__ = signature(_Gate.forward)  # type: ignore[attr-defined]


def weigh(grad: Tensor, weight: Tensor) -> Tensor:
    """Multiply; but 0 times anything is 0, since a blocked sample's gradient may be inf or NaN.

    PyTorch is slow where the condition of `where` broadcasts, so that a gradient without such
    numbers is multiplied only.
    """
    weighed = grad * weight
    return weighed if _is_finite(grad) else torch.where(weight == 0, 0, weighed)


def _is_finite(grad: Tensor) -> bool:
    """Return whether no entry is inf or NaN; False where to ask would cost more than it saves.

    A sum shows it in one pass. A GPU would have to be waited for, and code that is traced or
    transformed, and a graph of the gradient itself, must hold for other numbers as well.
    """
    plain = type(grad) is Tensor and grad.device.type == "cpu" and not torch.is_grad_enabled()
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active() or not plain:
        return False
    return isfinite(grad.sum().item())


def _require_fit(x: tuple[int, ...], weight: tuple[int, ...], sizes: Sequence[int] | None) -> None:
    """Refuse a weight that would be padded or would enlarge x: that is how masks get misread."""
    if sizes is not None and (not x or sum(sizes) != x[-1]):
        raise ValueError(
            f"the slices {tuple(sizes)} do not fill the last axis of x, of shape {x}: "
            "give sizes that sum to it"
        )
    if weight == () and sizes is None:
        return
    room = x if sizes is None else (*x[:-1], len(sizes))
    fits = len(weight) == len(room) and all(w in (1, n) for w, n in zip(weight, room, strict=True))
    if not fits or (sizes is not None and weight[-1] != len(sizes)):
        slices = "" if sizes is None else f" in {len(sizes)} slices"
        raise ValueError(
            f"a weight of shape {weight} does not fit x of shape {x}{slices}: give a number, or a "
            f"tensor with as many axes as x, each 1 or that of {room}; a route table adds the "
            "trailing 1s: table(target, route, ndim=x.ndim)"
        )


@dataclass(frozen=True, eq=False)
class SelectedRows:
    """The rows of a batch that pass a target, and their weights at the target of a gate.

    A row passes if its route, or that of one of its tokens, has another weight than 0.
    """

    places: Tensor
    """Their places along the first axis of the batch, [n] int64, ascending."""
    whole: Tensor
    """The weights of the gate for all rows of the batch."""

    @cached_property
    def weights(self) -> Tensor:
        """Their weights, [n, *]: as those of the gate, without the other rows."""
        return self.whole.index_select(0, self.places)

    @cached_property
    def passes(self) -> bool:
        """Whether all these weights are 1."""
        return bool((self.weights == 1).all())


class Gate(nn.Module):
    """A named point in a network: identity forward, the gradient weighted by target and route.

    It holds no parameters, and does nothing while gradients are off. While they are on it needs
    `routing`, and raises without it. `Gate("motivation")` guards the whole tensor;
    `Gate(original=2048, expansion=64)` guards slices of the last axis, each its own target. Two
    gates in a row multiply.

    A gate stops gradient below it, not beside it. In `nn.Sequential(trunk, Gate("shared"), down)`
    a blocked sample does not teach `trunk`, but it still teaches `down`, which reads the gated
    tensor; use `gate_parameters` to hold the reader back, or make it a target of its own.

    A gate whose attribute `selects` names a target knows in `rows` the samples that pass there, so
    that a model need not compute the others. It then weighs tensors of these rows alone, too.

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
        self.selects: str | None = None  # the target whose passing rows are selected
        self.selected: SelectedRows | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return x; in the backward pass its gradient is weighted by the routes in force now."""
        weight = self.weight_for(x)
        return x if weight is None else gate(x, weight, self.sizes)

    @property
    def rows(self) -> SelectedRows | None:
        """The rows that pass the target `selects`; None if all are to be computed.

        That is so if the gate was not told to select, gradients are off, or the table gives every
        route weight 1 there; and in compiled code, which a new number of rows would compile anew.
        """
        if torch.compiler.is_compiling() or not torch.is_grad_enabled():
            return None
        return self.selected

    def weight_for(self, x: Tensor) -> Tensor | None:
        """Return the weights in force now, shaped to broadcast against x, one column per slice.

        None if there is nothing to weigh: gradients are off, or every route passes. A module that
        weighs something else than a gradient's path, say its own parameters, may ask a Gate of its
        own for them.

        Args:
            x: the whole batch, or the `rows` that the gate selects, if it does.

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
        weights, passes, rows = self.weights, self.passes, self.rows
        if rows is not None and x.ndim and len(x) == len(rows.places):
            weights, passes = rows.weights, rows.passes
        route = weights.shape[:-1] if self.sizes else weights.shape
        rest = x.ndim - len(route)
        if x.shape[: len(route)] != route or (self.sizes and rest < 1):
            raise ValueError(
                f"a route of shape {tuple(route)} does not fit the input of "
                f"Gate({self.extra_repr()}), of shape {tuple(x.shape)}: the route's axes must be "
                "the first ones of the input, one route per sample or per token"
            )
        if passes:
            return None
        shape = [*route, *[1] * rest]
        if self.sizes:
            shape[-1] = len(self.sizes)
        return weights.reshape(shape)

    def linear_arguments(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return `weight` and `rows` of `gate_linear`, for a map whose input is x."""
        rows = self.rows
        if rows is None or len(rows.places) == len(x):  # these are the whole batch, or selected
            return self.weight_for(x), None
        return None if rows.passes else self.weight_for(x[: len(rows.places)]), rows.places

    def extra_repr(self) -> str:
        """Return the constructor's arguments, for printing."""
        if self.sizes is None:
            return repr(self.targets[0])
        return ", ".join(f"{t}={n}" for t, n in zip(self.targets, self.sizes, strict=True))

    def __getstate__(self) -> dict[str, Any]:
        # a copy made inside `routing` would keep its route for ever
        return {**self.__dict__, "weights": None, "selected": None}


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
    _require_targets(gates, table)
    passed = table.passed
    columns = dict(zip(table.target_names, table.rows(route).unbind(-1), strict=True))
    try:
        for point in gates:
            weights = [columns[target] for target in point.targets]
            # as `point.weights = ...`, several times as fast: that asks whether it is a parameter
            vars(point).update(
                weights=torch.stack(weights, -1) if point.sizes else weights[0],
                passes=passed.issuperset(point.targets),
            )
        if route.ndim:
            _select_rows([point for point in gates if point.selects not in passed], columns)
        yield
    finally:
        for point in gates:
            vars(point).update(weights=None, selected=None)


def _select_rows(gates: list[Gate], columns: dict[str, Tensor]) -> None:
    """Give each gate that selects rows those of a step; gates of equal targets share them."""
    places: dict[str, Tensor] = {}
    found: dict[tuple[str, ...], SelectedRows] = {}
    for point in gates:
        target, whole = point.selects, point.weights
        if target is None or whole is None:
            continue
        if target not in places:
            column = columns[target]
            passing = column if column.ndim == 1 else (column != 0).flatten(1).any(1)
            places[target] = passing.nonzero()[:, 0]
        key = (target, *point.targets)
        if key not in found:
            found[key] = SelectedRows(places[target], whole)
        vars(point).update(selected=found[key])


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


def _require_targets(gates: list[Gate], table: RouteTable) -> None:
    if not gates:
        raise ValueError(
            "the model has no Gate, so no gradient would be routed: put a Gate at each target"
        )
    for point in gates:
        for target in (*point.targets, point.selects):
            if target is not None and target not in table.target_names:
                refuse_name("target", target, table.target_names)
    if any(point.weights is not None for point in gates):
        raise RuntimeError(
            "the model is already being routed: close that `routing` context first; contexts do "
            "not nest, since a backward pass must see the routes of its own forward pass"
        )
