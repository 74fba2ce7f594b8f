"""Where Gates are in a block of a plain model, and what is beside its MLP."""

from torch import nn

from lm.hf.families import Family
from lm.hf.wrappers import Expanded, Gated, teach
from lm.model.targets import ATTENTION, EXPANSION, EXPANSION_PARAMETERS, HIDDEN, MLP, ORIGINAL


def insert_gates(block: nn.Module, family: Family, added: nn.Module | None) -> None:
    """Put Gates around the attention and the MLP of a block, and hidden units beside the MLP's."""
    mlp = block.get_submodule(family.mlp)
    _gate(mlp, family.writing, before=HIDDEN if added is None else ORIGINAL)
    if added is not None:
        teach(added, EXPANSION_PARAMETERS)
        _gate(added, family.writing, before=EXPANSION)
        block.set_submodule(family.mlp, Expanded(mlp, added))
    _gate(block, family.mlp, after=MLP)
    _gate(block, family.attention_output, after=ATTENTION)


def _gate(module: nn.Module, name: str, **targets: str) -> None:
    module.set_submodule(name, Gated(module.get_submodule(name), **targets))
