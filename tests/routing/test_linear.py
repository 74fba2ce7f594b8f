"""A linear map routed in one pass equals the general way, which takes two."""

import pytest
import torch
from torch import Tensor, nn

from oversight.routing import gate_linear, gate_parameters

WEIGHTS = (1.0, 0.0, 0.5, -0.75)


def routed(way: str, dtype: torch.dtype, bias: bool) -> tuple[Tensor, ...]:
    """Return the output and the gradients of the input and of the parameters."""
    torch.manual_seed(0)
    linear = nn.Linear(3, 5, bias=bias, dtype=dtype)
    x = torch.randn(2, 4, 3, dtype=dtype, requires_grad=True)
    weight = torch.tensor([WEIGHTS, WEIGHTS[::-1]]).unsqueeze(-1)
    if way == "two passes":
        y = gate_parameters(linear, x, weight)
    else:
        y = gate_linear(x, linear.weight, weight, linear.bias)
    y.square().sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    grads = [parameter.grad for parameter in linear.parameters()]
    return y.detach(), x.grad, *(grad for grad in grads if grad is not None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bias", [False, True])
def test_one_pass_equals_two(dtype: torch.dtype, bias: bool) -> None:
    one, two = routed("one pass", dtype, bias), routed("two passes", dtype, bias)
    assert len(one) == len(two) == 3 + bias
    assert torch.equal(one[0], two[0])
    torch.testing.assert_close(one[1:], two[1:])


def test_the_gradient_and_the_second_one_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    parameter = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(4, dtype=torch.float64, requires_grad=True)
    for inputs in ((x, parameter), (x, parameter, bias)):
        assert torch.autograd.gradcheck(_ungated, inputs)
        assert torch.autograd.gradgradcheck(_ungated, inputs)


def _ungated(x: Tensor, parameter: Tensor, bias: Tensor | None = None) -> Tensor:
    return gate_linear(x, parameter, torch.ones(2, 1), bias)


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
def test_a_blocked_sample_teaches_nothing_even_where_its_gradient_is_not_finite(bad: float) -> None:
    parameter = torch.ones(2, 3, requires_grad=True)
    bias = torch.ones(2, requires_grad=True)
    y = gate_linear(torch.ones(2, 3), parameter, torch.tensor([[0.0], [1.0]]), bias)
    y.backward(torch.tensor([[bad, bad], [1.0, 2.0]]))  # type: ignore[no-untyped-call]
    assert parameter.grad is not None
    assert torch.equal(parameter.grad, torch.tensor([[1.0] * 3, [2.0] * 3]))
    assert bias.grad is not None
    assert torch.equal(bias.grad, torch.tensor([1.0, 2.0]))


def test_under_autocast_the_gradients_keep_the_precision_of_the_parameters() -> None:
    x, parameter = torch.ones(2, 3, requires_grad=True), torch.ones(4, 3, requires_grad=True)
    bias = torch.ones(4, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = gate_linear(x, parameter, torch.tensor([[1.0], [0.0]]), bias)
        assert y.dtype == torch.bfloat16
        y.sum().backward()  # type: ignore[no-untyped-call]
    assert parameter.grad is not None
    assert x.grad is not None
    assert bias.grad is not None
    assert parameter.grad.dtype == x.grad.dtype == bias.grad.dtype == torch.float32
    assert torch.equal(bias.grad, torch.ones(4))
    assert torch.equal(parameter.grad, torch.ones(4, 3))
    assert torch.equal(x.grad, torch.full((2, 3), 4.0))


@pytest.mark.parametrize("shape", [(3,), (2, 3), (1, 2, 1)])
def test_a_weight_that_does_not_fit_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="does not fit an output of shape"):
        gate_linear(torch.ones(2, 3), torch.ones(4, 3), torch.ones(shape))
