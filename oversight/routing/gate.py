"""The one mechanism: an identity whose gradient is weighted on the way back.

Routing at the weights of a linear map, in one pass.
"""

from collections.abc import Sequence
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F


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


def gate_linear(
    x: Tensor, parameter: Tensor, weight: Tensor | float, bias: Tensor | None = None
) -> Tensor:
    """Return `F.linear(x, parameter, bias)`, and let each sample teach both by its weight.

    The gradient that passes through to `x` stays whole. `gate_parameters` does this for any
    module, at the price of a second forward pass; a linear map has no need of one.

    Args:
        x: the input, [..., inputs].
        parameter: the matrix, [outputs, inputs].
        weight: as in `gate`, for the output.
        bias: [outputs], or none.

    Raises:
        ValueError: if the weight does not fit the output.

    >>> parameter = torch.ones(1, 2, requires_grad=True)
    >>> x = torch.ones(3, 2, requires_grad=True)
    >>> gate_linear(x, parameter, torch.tensor([[1.0], [0.0], [0.5]])).sum().backward()
    >>> parameter.grad, x.grad.sum()
    (tensor([[1.5000, 1.5000]]), tensor(6.))
    """
    if not isinstance(weight, Tensor):
        weight = x.new_full((), weight)
    room = (*x.shape[:-1], parameter.shape[0])
    fits = len(weight.shape) == len(room) and all(
        w in (1, n) for w, n in zip(weight.shape, room, strict=True)
    )
    if weight.shape and not fits:
        raise ValueError(
            f"a weight of shape {tuple(weight.shape)} does not fit an output of shape {room}: give "
            "a number, or a tensor with as many axes as the output, each 1 or that of the output"
        )
    output: Tensor = _Linear.apply(x, parameter, weight.to(x.device), bias)  # type: ignore[no-untyped-call]
    return output


class _Linear(Function):
    """A linear map whose parameters' gradients are weighted; its backward is differentiable."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, parameter: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(x, parameter, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ANN401
        x, parameter, weight, bias = inputs
        ctx.bias_dtype = None if bias is None else bias.dtype
        ctx.save_for_backward(x, parameter, weight)

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401
        grad: Tensor,
    ) -> tuple[Tensor | None, Tensor | None, None, Tensor | None]:
        x, parameter, weight = ctx.saved_tensors
        needs_x, needs_parameter, _, needs_bias = ctx.needs_input_grad
        to_x = to_parameter = to_bias = None
        if needs_x:
            # under autocast the gradient comes in half precision
            to_x = (grad @ parameter.to(grad.dtype)).to(x.dtype)
        if needs_parameter or needs_bias:
            scale = weight.to(grad.dtype)
            # 0 times anything is 0, since a blocked sample's gradient may be inf or NaN
            weighed = (grad * scale).masked_fill_(scale == 0, 0).flatten(0, -2)
            if needs_parameter:
                to_parameter = (weighed.mT @ x.to(grad.dtype).flatten(0, -2)).to(parameter.dtype)
            if needs_bias:
                to_bias = weighed.sum(0).to(ctx.bias_dtype)
        return to_x, to_parameter, None, to_bias


# `apply` asks for it at every call, and would take longer to derive it than to multiply
_Linear.forward.__signature__ = signature(_Linear.forward)  # type: ignore[attr-defined]
