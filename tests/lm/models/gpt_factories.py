"""A small GPT, and random tokens and labels for it."""

from dataclasses import replace

import torch
from torch import Tensor

from lm.models.gpt import GPT
from lm.models.shapes import GPTConfig

SMALL = GPTConfig(vocab_size=13, width=8, num_layers=2, num_heads=2, context=6)
EXPANDED = GPTConfig(
    vocab_size=13,
    width=8,
    num_layers=2,
    num_heads=2,
    context=6,
    expansion=3,
    expanded_layers=(1,),
    added_embedding=True,
)
EXPERTS = replace(
    SMALL,
    expansion=SMALL.hidden,
    expanded_layers=(0, 1),
    modules=("forest", "sea"),
    expert_weights=(1.0, 1.0),
)


def tokens(seed: int = 0, rows: int = 3, config: GPTConfig = SMALL) -> tuple[Tensor, Tensor]:
    """Return inputs and targets, [rows, context] each."""
    generator = torch.Generator().manual_seed(seed)
    shape = (rows, config.context + 1)
    drawn = torch.randint(config.vocab_size, shape, generator=generator)
    return drawn[:, :-1], drawn[:, 1:]


def labels(seed: int = 0, rows: int = 3, config: GPTConfig = SMALL) -> Tensor:
    """Return a label for each token, [rows, context]."""
    generator = torch.Generator().manual_seed(seed + 1000)
    return torch.randint(3, (rows, config.context), generator=generator)


def random_gpt(config: GPTConfig = SMALL, dtype: torch.dtype = torch.float32) -> GPT:
    """Return a model whose matrices are all large and random, also those of an expansion."""
    model = GPT(config).to(dtype)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    return model
