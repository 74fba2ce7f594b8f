"""Whether a token sees an expansion, in the forward pass."""

from torch import Tensor, nn

from lm.model.targets import PRESENCE
from oversight.routing import Gate


class Presence(nn.Module):
    """Weighs what an expansion writes by the token's weight at `presence`; 1 without routes."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate(PRESENCE)  # never applied: it only knows the weights in force

    def forward(self, written_btd: Tensor) -> Tensor:
        """Map [B, T, D] to itself."""
        weight = self.gate.weight_for(written_btd)
        if weight is None:
            return written_btd
        return written_btd * weight.to(written_btd.device, written_btd.dtype)
