"""Give a GPT weights to route to, and silence as many random ones, the control of an ablation."""

from collections.abc import Iterable
from dataclasses import replace

import torch

from lm.model.gpt import GPT
from lm.model.language_model import LanguageModel


def expand(
    model: GPT, units: int, layers: Iterable[int], seed: int = 0, embedding: bool = False
) -> GPT:
    """Return a copy of a model with hidden units added to the MLP of some layers.

    They write nothing at first, so that the function stays the same to the last bit; they read by
    random weights, and so learn from the first step. (Cloud et al. 2024 draw all weights of the
    expanded model anew and train from there.) Nor does an embedding that is added on request.

    Raises:
        ValueError: if the model is expanded already, or has no such layers.

    >>> from lm.model.sizes import GPTConfig
    >>> plain = GPT(GPTConfig(vocab_size=16, width=8, num_layers=2, num_heads=2, context=4))
    >>> expand(plain, 3, [0]).blocks[0].mlp.expansion.up.weight.shape
    torch.Size([3, 8])
    """
    if model.config.expanded:
        raise ValueError(
            f"the model has {model.config.expansion} added hidden units in the layers "
            f"{model.config.expanded_layers} already: ablate them first"
        )
    config = replace(
        model.config, expansion=units, expanded_layers=tuple(layers), added_embedding=embedding
    )
    expanded = GPT(config, seed).to(model.embedding)
    expanded.load_state_dict(expanded.state_dict() | model.state_dict())
    return expanded


@torch.no_grad()
def ablate_random(
    model: LanguageModel, units: int, layers: Iterable[int], seed: int = 0
) -> LanguageModel:
    """Return a copy of a model in which random original hidden units of some layers are silent.

    The control of an ablation: as many units as the expansion has, but not those routed to.

    Raises:
        ValueError: if a layer has fewer units, or the model has no such layer.
    """
    layers, count = tuple(layers), len(model.layers())
    hidden = model.writing(0).shape[1]
    if not 0 <= units <= hidden or not set(layers) <= set(range(count)):
        raise ValueError(
            f"{units} units in the layers {layers} cannot be ablated: the model has {hidden} "
            f"units in each of the layers 0 to {count - 1}"
        )
    silenced = model.copied()
    generator = torch.Generator().manual_seed(seed)
    for layer in layers:
        matrix = silenced.writing(layer)
        chosen = torch.randperm(hidden, generator=generator)[:units]
        matrix[:, chosen.to(matrix.device)] = 0
    return silenced
