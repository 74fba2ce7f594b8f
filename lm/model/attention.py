"""Causal self-attention with rotary positions.

Shape suffixes: b batch, h heads, t tokens, d width, c features of a head.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lm.model.linear import RoutedLinear
from lm.model.sizes import GPTConfig
from lm.model.targets import ATTENTION, ORIGINAL_PARAMETERS
from oversight.routing import Gate


class Attention(nn.Module):
    """Causal self-attention; its output passes a Gate."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.heads = config.num_heads
        self.qkv = RoutedLinear(config.width, 3 * config.width, ORIGINAL_PARAMETERS)
        self.out = RoutedLinear(config.width, config.width, ORIGINAL_PARAMETERS)
        self.gate = Gate(ATTENTION)

    def forward(self, x_btd: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        """Map [B, T, D] to itself, each token reading those before it and itself."""
        batch, length, width = x_btd.shape
        parts = self.qkv(x_btd).view(batch, length, 3, self.heads, width // self.heads)
        q_bhtc, k_bhtc, v_bhtc = parts.permute(2, 0, 3, 1, 4).unbind(0)
        q_bhtc, k_bhtc = rotate(q_bhtc, rotation), rotate(k_bhtc, rotation)
        y_bhtc = F.scaled_dot_product_attention(q_bhtc, k_bhtc, v_bhtc, is_causal=True)
        y_btd = y_bhtc.transpose(1, 2).reshape(batch, length, width)
        gated: Tensor = self.gate(self.out(y_btd))
        return gated


def rotations(features: int, length: int) -> tuple[Tensor, Tensor]:
    """Return cosine and sine of each position's angles, [length, features / 2].

    Rotary position embedding, Su et al. 2021 (arXiv 2104.09864), with base 10,000: pair i of the
    features turns by position / 10000^(2i / features).
    """
    frequencies = 10_000.0 ** (-torch.arange(0, features, 2, dtype=torch.float64) / features)
    angles = torch.outer(torch.arange(length, dtype=torch.float64), frequencies)
    return angles.cos().float(), angles.sin().float()


def rotate(x_bhtc: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Turn feature i together with feature i + C / 2 by the angles of its position."""
    cos, sin = (part.to(x_bhtc.dtype) for part in rotation)
    first, second = x_bhtc.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
