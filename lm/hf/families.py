"""Where the layers are that are gated and expanded, family by family."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """The names of some layers of a model; all others are found by having parameters."""

    layers: str
    """the list of blocks, within the model"""
    attention_output: str
    """the map by which attention writes to the residual stream, within a block"""
    mlp: str = "mlp"
    """the MLP, within a block"""
    reading: tuple[str, ...]
    """the maps by which hidden units read, within the MLP; gated units have two"""
    writing: str
    """the map by which hidden units write, within the MLP"""
    norm: str
    """the norm before the output head, within the model"""
    head: str = "lm_head"
    """the output head, within the model; it has no bias"""

    def blocks(self, model: "PreTrainedModel") -> nn.ModuleList:
        """Return the blocks of a model."""
        blocks = model.get_submodule(self.layers)
        assert isinstance(blocks, nn.ModuleList)
        return blocks


_LLAMA = Family(
    layers="model.layers",
    attention_output="self_attn.o_proj",
    reading=("gate_proj", "up_proj"),
    writing="down_proj",
    norm="model.norm",
)

FAMILIES = {
    "gpt_neo": Family(
        layers="transformer.h",
        attention_output="attn.attention.out_proj",
        reading=("c_fc",),
        writing="c_proj",
        norm="transformer.ln_f",
    ),
    "llama": _LLAMA,
    "qwen2": _LLAMA,
}
"""Families by `model_type`, as a model's `config.json` gives it."""


def family_of(model: "PreTrainedModel") -> Family:
    """Return the family of a plain model.

    Raises:
        ValueError: if the family is not known, or a layer that it names is not in the model.
    """
    family = FAMILIES.get(model.config.model_type)
    if family is None or not _fits(model, family):
        raise ValueError(
            f"{type(model).__name__} of type {model.config.model_type!r} lacks the layers that are "
            f"gated: give a plain causal model of one of the families {', '.join(FAMILIES)}"
        )
    return family


def _fits(model: "PreTrainedModel", family: Family) -> bool:
    """Return whether each named map is there, and plain."""
    try:
        model.get_submodule(family.norm)
        maps = [model.get_submodule(family.head)]
        for block in family.blocks(model):
            maps.append(block.get_submodule(family.attention_output))
            mlp = block.get_submodule(family.mlp)
            maps += [mlp.get_submodule(name) for name in (*family.reading, family.writing)]
    except AttributeError:
        return False
    return all(type(one) is nn.Linear for one in maps) and maps[0].bias is None
