"""The one mechanism: an identity whose gradient is weighted on the way back."""

from collections.abc import Sequence
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


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
    _check(tuple(x.shape), tuple(weight.shape), sizes)
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
            return _weigh(grad, weight), None, None
        # [..., slices] weights against [..., features] gradients
        parts = zip(torch.split(grad, ctx.sizes, -1), torch.split(weight, 1, -1), strict=True)
        return torch.cat([_weigh(part, one) for part, one in parts], -1), None, None


# `apply` asks for it at every call, and would take longer to derive it than to gate
_Gate.forward.__signature__ = signature(_Gate.forward)  # type: ignore[attr-defined]


def _weigh(grad: Tensor, weight: Tensor) -> Tensor:
    """Multiply; but 0 times anything is 0, since a blocked sample's gradient may be inf or NaN."""
    return torch.where(weight == 0, 0, grad * weight)


def _check(x: tuple[int, ...], weight: tuple[int, ...], sizes: Sequence[int] | None) -> None:
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
