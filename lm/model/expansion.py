"""Expand and ablate: give a GPT weights to route to, and take them away."""

from collections.abc import Iterable
from dataclasses import replace

import torch

from lm.model.gpt import GPT, Block
from lm.model.targets import EXPANSION


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


def ablate(model: GPT, target: str = EXPANSION) -> GPT:
    """Return a plain copy of a model, without its expansion.

    Raises:
        ValueError: if the target cannot be ablated, or the model has none.
    """
    if target != EXPANSION:
        raise ValueError(f"{target!r} cannot be ablated: only {EXPANSION!r} can")
    if not model.config.expanded:
        raise ValueError("the model has no expansion to ablate: expand it before training")
    plain = GPT(model.config.plain).to(model.embedding)
    state = model.state_dict()
    plain.load_state_dict({name: state[name] for name in plain.state_dict()})
    return plain


@torch.no_grad()
def ablate_random(model: GPT, units: int, layers: Iterable[int], seed: int = 0) -> GPT:
    """Return a copy of a model in which random original hidden units of some layers are silent.

    The control of an ablation: as many units as the expansion has, but not those routed to.

    Raises:
        ValueError: if a layer has fewer units, or the model has no such layer.
    """
    layers, config = tuple(layers), model.config
    if not 0 <= units <= config.hidden or not set(layers) <= set(range(config.num_layers)):
        raise ValueError(
            f"{units} units in the layers {layers} cannot be ablated: the model has "
            f"{config.hidden} units in each of the layers 0 to {config.num_layers - 1}"
        )
    silenced = GPT(config).to(model.embedding)
    silenced.load_state_dict(model.state_dict())
    generator = torch.Generator().manual_seed(seed)
    for layer in layers:
        block = silenced.blocks[layer]
        assert isinstance(block, Block)
        chosen = torch.randperm(config.hidden, generator=generator)[:units]
        block.mlp.original.down.weight[:, chosen.to(model.embedding.device)] = 0
    return silenced
