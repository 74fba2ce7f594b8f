"""The MLP of a block: its original hidden units, and those that an expansion adds.

Shape suffixes: b batch, t tokens, d width, f hidden units.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from lm.model.linear import RoutedLinear
from lm.model.presence import Presence
from lm.model.sizes import GPTConfig
from lm.model.targets import (
    EXPANSION,
    EXPANSION_PARAMETERS,
    HIDDEN,
    MLP,
    ORIGINAL,
    ORIGINAL_PARAMETERS,
)
from oversight.routing import Gate


class HiddenUnits(nn.Module):
    """Some hidden units of an MLP, with the weights that they read and write by.

    Units are independent of each other, so that an MLP is the sum of its parts, and each part has
    parameters and optimizer state of its own.

    Args:
        width: features of the residual stream.
        units: how many.
        target: the target of their activations.
        parameters: the target of their weights.
    """

    def __init__(self, width: int, units: int, target: str, parameters: str) -> None:
        super().__init__()
        self.up = RoutedLinear(width, units, parameters)
        self.down = RoutedLinear(units, width, parameters)
        self.gate = Gate(target)

    def forward(self, x_btd: Tensor) -> Tensor:
        """Map [B, T, D] to what the units write, [B, T, D]."""
        h_btf = F.gelu(self.up(x_btd), approximate="tanh")
        y_btd: Tensor = self.down(self.gate(h_btf))
        return y_btd


class GatedMLP(nn.Module):
    """An MLP, expanded if the layer is among the expanded ones; its output passes a Gate."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        expanded = layer in config.expanded_layers
        self.original = HiddenUnits(
            config.width, config.hidden, ORIGINAL if expanded else HIDDEN, ORIGINAL_PARAMETERS
        )
        self.expansion: HiddenUnits | None = None
        if expanded:
            self.expansion = HiddenUnits(
                config.width, config.expansion, EXPANSION, EXPANSION_PARAMETERS
            )
            self.presence = Presence()
        self.gate = Gate(MLP)

    def forward(self, x_btd: Tensor) -> Tensor:
        """Map [B, T, D] to itself, token by token."""
        y_btd: Tensor = self.original(x_btd)
        if self.expansion is not None:
            y_btd = y_btd + self.presence(self.expansion(x_btd))
        gated: Tensor = self.gate(y_btd)
        return gated
