"""A linear map whose parameters are a target."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oversight.routing import Gate, gate_linear


class RoutedLinear(nn.Module):
    """A linear map without bias, which each token teaches by its weight at a target.

    Costs nothing while every route has weight 1 there.

    Args:
        inputs: features that it reads.
        outputs: features that it writes.
        target: the name of its parameters in a route table.
    """

    def __init__(self, inputs: int, outputs: int, target: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.taught = Gate(target)  # never applied: it only knows the weights in force

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., inputs] to [..., outputs]."""
        weight = self.taught.weight_for(x)
        return F.linear(x, self.weight) if weight is None else gate_linear(x, self.weight, weight)
