"""A small network whose three gates share paths, and a table for it."""

import pytest
import torch
from torch import Tensor, nn

from oversight.routing import Gate, RouteTable

# Dynamo itself instantiates autograd.Function while it traces one
DYNAMO = pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
TABLE = RouteTable(
    {
        "both": {"trunk": 1.0, "left": 1.0, "right": 1.0},
        "left": {"trunk": 0.5, "left": 1.0, "right": 0.0},
        "none": {"trunk": 1.0, "left": 0.0, "right": -0.75},
    }
)


class Branches(nn.Module):
    """A trunk read by two branches, both read by a head; a gate after all but the head."""

    def __init__(self, width: int = 4, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.trunk = nn.Sequential(nn.Linear(3, width), nn.Tanh(), Gate("trunk"))
        self.left = nn.Sequential(nn.Linear(width, 1), nn.Tanh(), Gate("left"))
        self.right = nn.Sequential(nn.Linear(width, 2), nn.Tanh(), Gate("right"))
        self.head = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, 3] to [batch, 2]."""
        h = self.trunk(x)
        y: Tensor = self.head(self.left(h) + self.right(h))
        return y


def gradients(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of each parameter's gradient, and clear it."""
    grads = {}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        grads[name] = parameter.grad.clone()
        parameter.grad = None
    return grads


def max_relative_error(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Return the largest difference of two sets of gradients, over the largest expected entry."""
    assert actual.keys() == expected.keys()
    scale = max(float(grad.abs().max()) for grad in expected.values())
    worst = max(float((actual[name] - grad).abs().max()) for name, grad in expected.items())
    return worst / scale if scale else worst
