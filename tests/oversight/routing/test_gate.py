"""`gate` and `gate_linear`: the value is untouched, the gradient is multiplied."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from oversight.routing import gate, gate_linear, gate_parameters

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def gradient(x: Tensor, weight: Tensor | float, arriving: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    return torch.autograd.grad(gate(x, weight), x, arriving)[0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_gate_returns_its_input_bit_for_bit(dtype: torch.dtype) -> None:
    x = torch.tensor([[torch.inf, -torch.inf, torch.nan, -0.0, 1e-7, 0.1]], dtype=dtype)
    y = gate(x, torch.tensor([[-0.75]]))
    size = {8: torch.int64, 4: torch.int32, 2: torch.int16}[dtype.itemsize]
    assert y.dtype == dtype
    assert torch.equal(x.view(size), y.view(size))


@st.composite
def shapes(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    x = draw(st.lists(st.integers(0, 4), max_size=4))
    scalar = draw(st.booleans())
    return x, [] if scalar else [draw(st.sampled_from([1, n])) for n in x]


@given(shapes(), st.sampled_from(DTYPES), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_gate_multiplies_the_gradient_by_the_weight(
    shape: tuple[list[int], list[int]], dtype: torch.dtype, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    arriving, x = torch.randn(2, *shape[0], generator=generator).to(dtype)
    weight = torch.randint(-4, 5, shape[1], generator=generator) / 4
    assert torch.equal(gradient(x, weight, arriving), arriving * weight.to(dtype))


def test_zero_weight_blocks_gradients_that_are_not_finite() -> None:
    arriving = torch.tensor([[torch.inf, torch.nan, -1.0]] * 2)
    grad = gradient(torch.zeros(2, 3), torch.tensor([[0.0], [1.0]]), arriving)
    assert torch.equal(grad[0], torch.zeros(3))
    assert torch.equal(grad[1].nan_to_num(), arriving[1].nan_to_num())


def test_number_as_weight_keeps_the_precision_of_the_gradient() -> None:
    ones = torch.ones(3, dtype=torch.float64)
    assert gradient(ones, 0.1, ones).tolist() == [0.1, 0.1, 0.1]


def test_gate_weighs_each_slice_of_the_last_axis() -> None:
    weight = torch.tensor([[[-0.75, 1.0]], [[0.0, 0.5]]])  # [2, 1, slices]
    x, arriving = torch.randn(2, 2, 3, 5, generator=torch.Generator().manual_seed(0))
    x.requires_grad_()
    (grad,) = torch.autograd.grad(gate(x, weight, sizes=[2, 3]), x, arriving)
    wide = weight.repeat_interleave(torch.tensor([2, 3]), -1)
    assert torch.equal(grad, arriving * wide)


def test_gate_saves_only_the_weight_in_the_dtype_of_the_gradient() -> None:
    kept: list[tuple[torch.dtype, tuple[int, ...]]] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append((tensor.dtype, tuple(tensor.shape)))
        return tensor

    x = torch.ones(8, 5, dtype=torch.bfloat16, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        gate(x, torch.ones(8, 1))
        gate(x, torch.ones(8, 2), sizes=[2, 3])
    assert kept == [(torch.bfloat16, (8, 1)), (torch.bfloat16, (8, 2))]


def test_gate_passes_gradcheck_and_gradgradcheck() -> None:
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    ones = torch.ones(3, 1, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: gate(x, ones), x)
    weight = torch.tensor([[0.0], [1.0], [-0.5]], dtype=torch.float64)
    # a gate is not the derivative of its value, but its backward pass is differentiable itself
    (first,) = torch.autograd.grad(gate(x, weight).pow(3).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    torch.testing.assert_close(first, weight * 3 * x**2)
    torch.testing.assert_close(second, weight * weight * 6 * x)


@pytest.mark.parametrize("shape", [(64,), (1,), (64, 1, 1), (2, 64), (64, 2), (0, 64)])
def test_weight_is_refused_when_it_does_not_broadcast_to_x(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match=r"weight of shape \(.*\) does not fit x of shape \(64, 64"
    ):
        gate(torch.ones(64, 64), torch.ones(shape))
    with pytest.raises(ValueError, match=r"weight of shape \(64, 1\) does not fit .* \(1, 64\)"):
        gate(torch.ones(1, 64), torch.ones(64, 1))


def test_slice_sizes_are_refused_when_they_do_not_add_up() -> None:
    x = torch.ones(4, 5)
    with pytest.raises(ValueError, match=r"\(2, 2\) do not fill the last axis of x, .* \(4, 5\)"):
        gate(x, torch.ones(4, 2), sizes=[2, 2])
    with pytest.raises(ValueError, match=r"\(4, 1\) does not fit .* in 2 slices"):
        gate(x, torch.ones(4, 1), sizes=[2, 3])


def test_in_place_change_of_the_output_is_refused_by_torch() -> None:
    with pytest.raises(RuntimeError, match="modified inplace"):
        gate(torch.ones(2, requires_grad=True), 0.5).relu_()


WEIGHTS = (1.0, 0.0, 0.5, -0.75)


def output_and_gradients(way: str, dtype: torch.dtype, bias: bool) -> tuple[Tensor, ...]:
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
def test_gated_linear_equals_gate_parameters(dtype: torch.dtype, bias: bool) -> None:
    one, two = (
        output_and_gradients("one pass", dtype, bias),
        output_and_gradients("two passes", dtype, bias),
    )
    assert len(one) == len(two) == 3 + bias
    assert torch.equal(one[0], two[0])
    torch.testing.assert_close(one[1:], two[1:])


def test_gated_linear_gradients_equal_finite_differences() -> None:
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
def test_gated_linear_ignores_a_blocked_sample_when_its_gradient_is_not_finite(
    bad: float,
) -> None:
    parameter = torch.ones(2, 3, requires_grad=True)
    bias = torch.ones(2, requires_grad=True)
    y = gate_linear(torch.ones(2, 3), parameter, torch.tensor([[0.0], [1.0]]), bias)
    y.backward(torch.tensor([[bad, bad], [1.0, 2.0]]))  # type: ignore[no-untyped-call]
    assert parameter.grad is not None
    assert torch.equal(parameter.grad, torch.tensor([[1.0] * 3, [2.0] * 3]))
    assert bias.grad is not None
    assert torch.equal(bias.grad, torch.tensor([1.0, 2.0]))


def test_gated_linear_gradients_keep_the_dtype_of_parameters_under_autocast() -> None:
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
def test_gated_linear_refuses_a_weight_that_does_not_match_the_output(
    shape: tuple[int, ...],
) -> None:
    with pytest.raises(ValueError, match="does not fit an output of shape"):
        gate_linear(torch.ones(2, 3), torch.ones(4, 3), torch.ones(shape))
