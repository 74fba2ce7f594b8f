"""A GPT as a plain model of Hugging Face, which `transformers` loads without code of this project.

The architecture is Arcee's: RMS norms, rotary positions, and MLPs without a gate. What it has not,
the weights take up:
- our norms have no gain: gains are 1;
- our embeddings are normed before the first block: the rows of the embedding are normed here, after
  those of the modules are added;
- our head is the embedding as it is: the head is not tied;
- modules are hidden units of their own: they become units of a wider MLP;
- experts are averaged: what each writes is scaled by its share in the mean.

Sums of a wider MLP are in another order, so that logits differ from those of the GPT by rounding.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lm.models.gpt import GPT, Block
from lm.models.layers import ExpertMLP, HiddenUnits

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ACTIVATION = "gelu_pytorch_tanh"
"""The name in `transformers` of the activation of our hidden units."""


@torch.no_grad()
def to_causal_lm(model: GPT, end: int = 0) -> "PreTrainedModel":
    """Return a plain copy of a model on the CPU, in evaluation mode, with its modules merged.

    Args:
        model: the model, which is not changed. Its modules are in all layers or in none.
        end: the token before and after each text.

    Raises:
        ValueError: if some layers are expanded and others are not.
    """
    from transformers import ArceeConfig, ArceeForCausalLM  # noqa: PLC0415 (an extra)

    shape = model.config
    widths = {sum(len(units.up.weight) for units in unit_groups(b)) for b in model.layers()}
    if len(widths) > 1:
        raise ValueError(
            f"the layers {shape.expanded_layers} of {shape.num_layers} are expanded: a model of "
            "Hugging Face has one number of hidden units, so expand all layers alike"
        )
    config = ArceeConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.width,
        intermediate_size=widths.pop(),
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        max_position_embeddings=shape.context,
        hidden_act=ACTIVATION,
        rms_norm_eps=torch.finfo(torch.float32).eps,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        bos_token_id=end,
        eos_token_id=end,
    )
    plain = ArceeForCausalLM(config).to(model.embedding.dtype).eval()
    plain.load_state_dict({name: each.cpu().clone() for name, each in _weights(model).items()})
    return plain


def unit_groups(block: Block) -> list[HiddenUnits]:
    """Return the hidden units of a block: its own, then those of each module."""
    return [part for part in block.mlp.modules() if isinstance(part, HiddenUnits)]


def _weights(model: GPT) -> dict[str, Tensor]:
    """Return the weights of a plain model by their names there."""
    everything = torch.arange(model.vocab_size, device=model.device)
    ones = torch.ones(model.width).to(model.embedding)
    found = {
        "model.embed_tokens.weight": model.normed(model.embedded(everything[None]))[0],
        "model.norm.weight": ones,
        "lm_head.weight": model.embedding,
    }
    for number, block in enumerate(model.layers()):
        groups = unit_groups(block)
        down: list[Tensor] = [units.down.weight for units in groups]
        if isinstance(block.mlp, ExpertMLP):
            down = [share * each for share, each in zip(block.mlp.shares(), down, strict=True)]
        q_dd, k_dd, v_dd = block.attention.qkv.weight.chunk(3)
        of_block = {
            "input_layernorm": ones,
            "self_attn.q_proj": q_dd,
            "self_attn.k_proj": k_dd,
            "self_attn.v_proj": v_dd,
            "self_attn.o_proj": block.attention.out.weight,
            "post_attention_layernorm": ones,
            "mlp.up_proj": torch.cat([units.up.weight for units in groups]),
            "mlp.down_proj": torch.cat(down, dim=1),
        }
        found |= {f"model.layers.{number}.{name}.weight": each for name, each in of_block.items()}
    return found


def to_pretrained_tokenizer(tokenizer: "Tokenizer", end: int = 0) -> "PreTrainedTokenizerBase":
    """Return the tokenizer of stories as one of `transformers`, whose texts begin with `end`."""
    from tokenizers import Tokenizer, processors  # noqa: PLC0415
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415 (an extra)

    mark: Any = tokenizer.id_to_token(end)
    own = Tokenizer.from_str(tokenizer.to_str())
    own.post_processor = processors.TemplateProcessing(
        single=f"{mark} $A", pair=f"{mark} $A {mark} $B", special_tokens=[(mark, end)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=own, bos_token=mark, eos_token=mark, pad_token=mark
    )
