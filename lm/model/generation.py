"""Sample texts: greedy or sampled tokens, one at a time."""

import torch
from torch import Tensor

from lm.model.language_model import LanguageModel


@torch.no_grad()
def generate(
    model: LanguageModel, prompt: Tensor, length: int, temperature: float = 0.0, seed: int = 0
) -> Tensor:
    """Return a prompt with more tokens after it, [b, t + length].

    Args:
        model: it reads the last tokens that fit its context.
        prompt: [b, t], one token at least.
        length: how many tokens to add.
        temperature: 0 takes the likeliest token; above, tokens are drawn, more freely the higher.
        seed: of the draws.

    Raises:
        ValueError: if the prompt is empty or the temperature negative.
    """
    if prompt.ndim != 2 or not prompt.shape[1] or temperature < 0:
        raise ValueError(
            f"a prompt of shape {tuple(prompt.shape)} and a temperature of {temperature} were "
            "given: give [rows, tokens] with one token at least, and a temperature from 0 on"
        )
    generator = torch.Generator().manual_seed(seed)
    tokens = prompt
    for _ in range(length):
        seen = tokens[:, -model.context :]
        logits = model.logits(model.features(seen)[:, -1:])[:, 0]
        if temperature == 0:
            chosen = logits.argmax(-1, keepdim=True)
        else:
            # on the CPU, so that a seed means the same on every device
            shares = torch.softmax(logits.float().cpu() / temperature, -1)
            chosen = torch.multinomial(shares, 1, generator=generator).to(tokens.device)
        tokens = torch.cat([tokens, chosen], dim=1)
    return tokens
