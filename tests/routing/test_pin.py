"""`pin`: a fixed weight for each entry of a parameter."""

import copy

import pytest
import torch
from torch import nn

from oversight.routing import pin
from tests.routing.test_transforms import DYNAMO

MASK = torch.tensor([[1.0, 0.0], [-0.5, 1.0]])
X = torch.tensor([[1.0, 2.0]])


def test_each_entry_learns_by_its_weight() -> None:
    linear = nn.Linear(2, 2)
    pinned = copy.deepcopy(linear)
    assert pin(pinned, "weight", MASK) is pinned
    assert torch.equal(pinned.weight, linear.weight)
    assert torch.equal(pinned(X), linear(X))
    for net in (linear, pinned):
        net(X).square().sum().backward()
    assert linear.weight.grad is not None
    assert torch.equal(gradient(pinned), linear.weight.grad * MASK)


def gradient(linear: nn.Linear) -> torch.Tensor:
    grad = linear.get_parameter("parametrizations.weight.original").grad
    assert grad is not None
    return grad


def test_a_step_leaves_a_pinned_entry_alone() -> None:
    linear = pin(nn.Linear(2, 2), "weight", MASK.clamp(min=0))
    before = linear.weight.detach().clone()
    optimizer = torch.optim.Adam(linear.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        linear(X).square().sum().backward()
        optimizer.step()
    assert torch.equal(linear.weight == before, MASK <= 0)


def test_the_weight_is_no_part_of_a_checkpoint() -> None:
    linear = pin(nn.Linear(2, 2), "weight", 0.0)
    assert set(linear.state_dict()) == {"bias", "parametrizations.weight.original"}
    with torch.no_grad():
        linear.weight = MASK
    assert torch.equal(linear.weight, MASK)


@DYNAMO
def test_it_compiles_in_one_graph() -> None:
    linear = pin(nn.Linear(2, 2), "weight", MASK)
    torch.compile(linear, fullgraph=True, backend="aot_eager")(X).sum().backward()
    assert torch.equal(gradient(linear), X.expand(2, 2) * MASK)
    torch.compiler.reset()


def test_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Linear has no parameter 'wieght' .* has weight, bias;"):
        pin(nn.Linear(2, 2), "wieght", 0.0)
    with pytest.raises(ValueError, match=r"Sequential has no parameter '0.weight' .* has none;"):
        pin(nn.Sequential(nn.Linear(2, 2)), "0.weight", 0.0)


def test_a_weight_that_does_not_fit_leaves_the_module_as_it_was() -> None:
    linear = nn.Linear(2, 3)
    with pytest.raises(ValueError, match=r"shape \(2,\) does not fit x of shape \(3, 2\)"):
        pin(linear, "weight", torch.ones(2))
    assert type(linear) is nn.Linear
