"""A GPT without routing, as the reference for outputs and speed.

The same sizes and choices as `lm.models.gpt`, and no gate anywhere.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lm.models.gpt import GPT, Block
from lm.models.shapes import GPTConfig


class PlainBlock(nn.Module):
    """A block of attention and MLP."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.heads = config.num_heads
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)
        self.up = nn.Linear(config.width, config.hidden, bias=False)
        self.down = nn.Linear(config.hidden, config.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Map [batch, time, width] to itself."""
        batch, length, width = x.shape
        qkv = self.qkv(F.rms_norm(x, (width,))).view(batch, length, 3, self.heads, -1)
        q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))
        y = F.scaled_dot_product_attention(
            self._turn(q, cos, sin), self._turn(k, cos, sin), v, is_causal=True
        )
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, width))
        h = F.gelu(self.up(F.rms_norm(x, (width,))), approximate="tanh")
        written: Tensor = self.down(h)
        return x + written

    @staticmethod
    def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


class PlainGPT(nn.Module):
    """A GPT without gates; `copy_of` gives one the weights of a routed model."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.blocks = nn.ModuleList(PlainBlock(config) for _ in range(config.num_layers))
        features = config.width // config.num_heads
        angles = torch.tensor(
            [
                [t / 10_000 ** (2 * i / features) for i in range(features // 2)]
                for t in range(config.context)
            ],
            dtype=torch.float64,
        )
        self.register_buffer("cos", angles.cos().float(), persistent=False)
        self.register_buffer("sin", angles.sin().float(), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits, [batch, time, vocabulary]."""
        length, width = tokens.shape[1], self.embedding.embedding_dim
        x = F.rms_norm(self.embedding(tokens), (width,))
        for block in self.blocks:
            x = block(x, self.cos[:length], self.sin[:length])  # type: ignore[index]
        return F.linear(F.rms_norm(x, (width,)), self.embedding.weight)

    def loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy."""
        logits = self(tokens).flatten(0, 1)
        return F.cross_entropy(logits, targets.flatten(), reduction="none").sum() / len(logits)


def copy_of(model: GPT) -> PlainGPT:
    """Return a plain GPT with the weights of a model that is not expanded."""
    plain = PlainGPT(model.config).to(model.embedding)
    with torch.no_grad():
        for mine, theirs in pairs(plain, model):
            mine.copy_(theirs)
    return plain


def pairs(plain: PlainGPT, model: GPT) -> list[tuple[Tensor, Tensor]]:
    """Return pairs of corresponding parameters of both models."""
    found: list[tuple[Tensor, Tensor]] = [(plain.embedding.weight, model.embedding)]
    for mine, theirs in zip(plain.blocks, model.blocks, strict=True):
        assert isinstance(mine, PlainBlock)
        assert isinstance(theirs, Block)
        units = theirs.mlp.original
        found += [
            (mine.qkv.weight, theirs.attention.qkv.weight),
            (mine.out.weight, theirs.attention.out.weight),
            (mine.up.weight, units.up.weight),
            (mine.down.weight, units.down.weight),
        ]
    return found


def slow_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Compute causal attention of one head, [time, features], by loops."""
    rows = []
    for t in range(len(q)):
        scores = torch.stack([q[t] @ k[s] / math.sqrt(q.shape[1]) for s in range(t + 1)])
        shares = scores.exp() / scores.exp().sum()
        rows.append(sum((shares[s] * v[s] for s in range(t + 1)), torch.zeros_like(v[0])))
    return torch.stack(rows)
