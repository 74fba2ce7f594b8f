"""The gates of a model as hook points of TransformerLens, in the model that `gpt_export` writes.

An exported model is plain: its modules are hidden units of wider MLPs, and gates, which change no
activation, are gone. But every gate at an activation stands at a place that TransformerLens names,
so that what flows through it can be read, patched or set to zero there:

    bridge = TransformerBridge.boot_transformers(folder)  # transformer_lens.model_bridge
    for gate in gate_hooks(model):
        bridge.add_hook(gate.hook, ...)  # features gate.start to gate.stop of the last axis

Gates of parameters and of the loss scale gradients where there is no activation of their own. They
are not among the hook points.
"""

from collections.abc import Iterator
from typing import NamedTuple

from lm.models.gpt import GPT
from lm.models.gpt_export import unit_groups
from lm.models.shapes import ATTENTION, MLP


class GateHook(NamedTuple):
    """Where TransformerLens finds what flows through a gate.

    Attributes:
        target: the target of the gate in a route table.
        layer: the block in which it stands.
        hook: name of the hook point.
        start: the first feature of the last axis that flows through the gate.
        stop: the feature behind the last one.
    """

    target: str
    layer: int
    hook: str
    start: int
    stop: int


def gate_hooks(model: GPT) -> Iterator[GateHook]:
    """Yield the hook points of all gates at activations, layer by layer.

    The values there are those of the model up to rounding; those of the gate `mlp` are the sum of
    what all hidden units write.

    Args:
        model: the model that was exported. Its modules are not experts, whose outputs are averaged
            in the weights of the export.

    Raises:
        ValueError: if its modules are experts.

    >>> from lm.models.shapes import GPTConfig
    >>> shape = GPTConfig(vocab_size=8, width=4, num_layers=1, num_heads=1, expansion=2,
    ...                   expanded_layers=(0,), modules=("sea",))
    >>> [(gate.target, gate.hook, gate.start, gate.stop) for gate in gate_hooks(GPT(shape))][:2]
    [('original', 'blocks.0.mlp.out.hook_in', 0, 16), ('sea', 'blocks.0.mlp.out.hook_in', 16, 18)]
    """
    if model.config.expert_weights:
        raise ValueError(
            "the modules of the model are experts, which its export averages in its weights, so "
            "that their gates have no hook points: take a model whose modules are hidden units"
        )
    for layer, block in enumerate(model.layers()):
        start = 0
        for units in unit_groups(block):
            stop = start + len(units.up.weight)
            (target,) = units.gate.targets
            yield GateHook(target, layer, f"blocks.{layer}.mlp.out.hook_in", start, stop)
            start = stop
        yield GateHook(MLP, layer, f"blocks.{layer}.mlp.hook_out", 0, model.width)
        yield GateHook(ATTENTION, layer, f"blocks.{layer}.attn.hook_out", 0, model.width)
