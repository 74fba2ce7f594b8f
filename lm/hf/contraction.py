"""From a model with Gates and an expansion back to a plain one."""

import copy
from typing import TYPE_CHECKING

from lm.hf.adapters import Adapted
from lm.hf.units import silent_units, widen
from lm.hf.wrappers import Expanded, unwrap

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from lm.hf.model import RoutedCausalLM


def contract(model: "RoutedCausalLM", *, ablated: bool = False) -> "PreTrainedModel":
    """Return a plain copy of a model, which `save_pretrained` writes for anyone to load.

    Adapters become part of the matrices that they are beside, an expansion part of wider MLPs. A
    family has one number of hidden units for all layers, so that layers which were not expanded
    get as many units which stay silent.

    Args:
        model: it stays as it is.
        ablated: whether to leave out the expansion, or the adapter that stands for one.
    """
    plain: PreTrainedModel = copy.deepcopy(model.causal_lm)
    family, blocks = model.family, model.family.blocks(plain)
    added = [
        next((one.expansion for one in block.modules() if isinstance(one, Expanded)), None)
        for block in blocks
    ]
    for module in list(plain.modules()):
        if isinstance(module, Adapted):
            module.merge(ablated=ablated)
    unwrap(plain)
    plain.requires_grad_(True)
    if ablated or not model.units:
        return plain
    for block, expansion in zip(blocks, added, strict=True):
        mlp = block.get_submodule(family.mlp)
        widen(mlp, expansion or silent_units(mlp, family, model.units), family)
    writing = mlp.get_submodule(family.writing)
    plain.config.intermediate_size = writing.in_features
    return plain
