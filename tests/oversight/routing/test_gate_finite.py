"""A gate reads a finite gradient once, and blocks inf and NaN by a second pass."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from oversight.routing import gate, gate_linear


class Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Lists the names of the operators that run inside this context."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN204
        self.names.append(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


def arriving(bad: float | None) -> torch.Tensor:
    """Return a gradient of four samples, the first two of which hold `bad` somewhere."""
    grad = torch.randn(4, 3)
    if bad is not None:
        grad[0, 1] = grad[1, 2] = bad
    return grad


WEIGHT = torch.tensor([[0.0], [1.0], [-0.5], [0.0]])


@pytest.mark.parametrize("bad", [None, torch.inf, -torch.inf, torch.nan])
def test_only_a_gradient_that_is_not_finite_takes_a_second_pass(bad: float | None) -> None:
    grad, x = arriving(bad), torch.zeros(4, 3, requires_grad=True)
    with Operators() as operators:
        (found,) = torch.autograd.grad(gate(x, WEIGHT), x, grad)
    assert ("where" in operators.names) == (bad is not None)
    expected = torch.where(WEIGHT == 0, 0, grad * WEIGHT)
    assert torch.equal(found.nan_to_num(7), expected.nan_to_num(7))
    assert torch.equal(found[0], torch.zeros(3))


@pytest.mark.parametrize("bad", [None, torch.inf, torch.nan])
def test_linear_map_learns_nothing_from_a_blocked_sample(bad: float | None) -> None:
    grad, parameter = arriving(bad), torch.randn(3, 2, requires_grad=True)
    grad[1:] = torch.randn(3, 3)  # the first sample is blocked, the others are finite
    x = torch.randn(4, 2)
    (found,) = torch.autograd.grad(gate_linear(x, parameter, WEIGHT), parameter, grad)
    torch.testing.assert_close(found, (grad[1:] * WEIGHT[1:]).T @ x[1:])


def test_graph_of_a_gradient_blocks_what_is_not_finite_as_well() -> None:
    x = torch.ones(4, 3, requires_grad=True)
    (first,) = torch.autograd.grad(gate(x, WEIGHT).square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first, x, arriving(torch.inf))
    assert torch.equal(second[0], torch.zeros(3))
