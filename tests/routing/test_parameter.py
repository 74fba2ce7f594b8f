"""`gate_parameters`: each sample teaches a module by its weight, and its input in full."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from oversight.routing import gate_parameters
from tests.routing.networks import gradients, max_relative_error


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 2)).double()


@given(st.lists(st.floats(-2, 2), min_size=1, max_size=5), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_it_equals_one_backward_pass_per_sample(weights: list[float], seed: int) -> None:
    net = network(seed)
    x = torch.randn(len(weights), 3, dtype=torch.float64, requires_grad=True)
    expected = {name: torch.zeros_like(parameter) for name, parameter in net.named_parameters()}
    for sample, share in zip(x.detach(), weights, strict=True):
        net(sample).square().sum().backward()
        for name, grad in gradients(net).items():
            expected[name] += share * grad
    (whole,) = torch.autograd.grad(net(x).square().sum(), x)
    weight = torch.tensor(weights, dtype=torch.float64)[:, None]
    torch.autograd.backward(gate_parameters(net, x, weight).square().sum())
    assert x.grad is not None
    assert torch.equal(x.grad, whole)
    assert max_relative_error(gradients(net), expected) <= 1e-6


def test_the_value_is_that_of_the_module_even_where_not_finite() -> None:
    x = torch.tensor([[torch.inf], [torch.nan], [0.1]], requires_grad=True)
    net = nn.Linear(1, 3)
    values = [gate_parameters(net, one, 0.3) for one in (x, x.detach())]
    with torch.no_grad():
        values.append(gate_parameters(net, x, 0.3))
    for value in values:
        assert torch.equal(value.view(torch.int32), net(x).view(torch.int32))


def test_a_blocked_sample_teaches_the_module_nothing() -> None:
    net, x = nn.Linear(1, 2), torch.ones(2, 1)
    arriving = torch.tensor([[torch.nan, torch.inf], [3.0, 4.0]])
    y = gate_parameters(net, x, torch.tensor([[0.0], [1.0]]))
    torch.autograd.backward(y, arriving)
    assert gradients(net)["bias"].tolist() == [3.0, 4.0]


def test_a_second_forward_pass_runs_only_if_gradient_must_pass() -> None:
    calls = []
    net = nn.Linear(2, 2)
    net.register_forward_hook(lambda *_: calls.append(1))
    x = torch.ones(1, 2)
    gate_parameters(net, x, 0.5)
    assert len(calls) == 1
    gate_parameters(net, x.requires_grad_(), 0.5)
    assert len(calls) == 3


def test_the_backward_pass_is_differentiable() -> None:
    net, weight = network(), torch.ones(2, 1, dtype=torch.float64)
    x = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)

    def value(x: Tensor) -> Tensor:
        return gate_parameters(net, x, weight)

    assert torch.autograd.gradcheck(value, x)
    assert torch.autograd.gradgradcheck(value, x)


STATEFUL = [
    nn.Sequential(nn.Dropout(0.1)),
    nn.BatchNorm1d(3),
    nn.TransformerEncoderLayer(3, 1, dropout=0.1),
]


@pytest.mark.parametrize("module", STATEFUL, ids=lambda module: type(module).__name__)
def test_what_differs_from_call_to_call_is_refused_in_training_mode(module: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"is in training mode, and would not do the same"):
        gate_parameters(module, torch.ones(2, 3), 0.5)
    gate_parameters(module.eval(), torch.ones(2, 3), 0.5)
    gate_parameters(nn.Sequential(nn.Linear(3, 3), nn.Dropout(0)), torch.ones(2, 3), 0.5)


def test_a_module_that_returns_several_tensors_is_refused() -> None:
    with pytest.raises(ValueError, match="returned tuple: gate_parameters weighs modules that ret"):
        gate_parameters(nn.GRU(3, 3), torch.ones(2, 3), 0.5)
