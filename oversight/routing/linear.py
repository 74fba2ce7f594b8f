"""Routing at the weights of a linear map, in one pass."""

from inspect import signature
from typing import Any

from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F


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
