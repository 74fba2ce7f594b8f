"""Tiny models of each Hugging Face family, with random weights."""

import copy
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from lm.models.hf import RoutedCausalLM
from lm.models.shapes import AdapterConfig

transformers = pytest.importorskip("transformers")

from tests.lm.models.unknown_family import UnknownConfig  # noqa: E402 (needs transformers)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SIZES = {"vocab_size": 13, "hidden_size": 8, "max_position_embeddings": 16}
LLAMA = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}
GROUPED = {**SIZES, **LLAMA, "num_key_value_heads": 1}

SMALL_HEADS = {**GROUPED, "head_dim": 4}
TOKENS = {"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 0}

CONFIGS = {
    "gpt_neo": transformers.GPTNeoConfig(
        **SIZES,
        num_layers=2,
        num_heads=2,
        attention_types=[[["global", "local"], 1]],
        window_size=3,
        bos_token_id=1,
        eos_token_id=1,
    ),
    "llama": transformers.LlamaConfig(
        **GROUPED, attention_bias=True, mlp_bias=True, tie_word_embeddings=False
    ),
    "qwen2": transformers.Qwen2Config(**GROUPED, tie_word_embeddings=True),
    "gpt2": transformers.GPT2Config(
        vocab_size=13, n_embd=8, n_positions=16, n_layer=2, n_head=2, **TOKENS
    ),
    "gpt_neox": transformers.GPTNeoXConfig(**SIZES, **LLAMA, **TOKENS),
    "mistral": transformers.MistralConfig(**GROUPED, sliding_window=3),
    "qwen3": transformers.Qwen3Config(**SMALL_HEADS, tie_word_embeddings=True),
    "gemma3_text": transformers.Gemma3TextConfig(
        **SMALL_HEADS,
        **TOKENS,
        sliding_window=3,
        layer_types=["sliding_attention", "full_attention"],
        final_logit_softcapping=5.0,
    ),
    "phi3": transformers.Phi3Config(**GROUPED, **TOKENS),
    "olmo2": transformers.Olmo2Config(**GROUPED, **TOKENS),
    # no layer is like Llama's here: heads have norms of their own, tokens come after heads
    "stablelm": transformers.StableLmConfig(
        **GROUPED, **TOKENS, qk_layernorm=True, use_parallel_residual=True
    ),
    "cohere": transformers.CohereConfig(**GROUPED, **TOKENS, use_qk_norm=True, logit_scale=0.25),
    UnknownConfig.model_type: UnknownConfig(),
}
"""Configurations by model type."""

FAMILIES = pytest.mark.parametrize("family", CONFIGS)


@cache
def _plain_model(family: str) -> "PreTrainedModel":
    generator = torch.Generator().manual_seed(7)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = copy.deepcopy(CONFIGS[family])  # the model keeps it, and a test may change it
        model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def plain_model(family: str, dtype: torch.dtype = torch.float32) -> "PreTrainedModel":
    """Return a plain model whose parameters are all large and random."""
    model = copy.deepcopy(_plain_model(family))
    for parameter in model.parameters():  # not rotary frequencies, which are always in float32
        parameter.data = parameter.data.to(dtype)
    return model


def expanded_model(
    family: str, dtype: torch.dtype = torch.float32, modules: Sequence[str] = ("expansion",)
) -> RoutedCausalLM:
    """Return a model whose modules add three units in its second layer, with outputs not zero."""
    model = RoutedCausalLM(plain_model(family, dtype), 3, [1], modules=modules)
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for name in modules:
            for parameter in model.parameter_targets()[f"{name}_parameters"]:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def adapted_model(
    family: str, dtype: torch.dtype = torch.float32, modules: Sequence[str] = ("expansion",)
) -> RoutedCausalLM:
    """Return a model with an adapter to keep and one for each module, with random weights."""
    config = AdapterConfig(rank=2, alpha=3.0)
    model = RoutedCausalLM(plain_model(family, dtype), adapters=config, modules=modules)
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for some in model.parameter_targets().values():
            for parameter in some:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def tokens(rows: int = 6) -> tuple[Tensor, Tensor]:
    """Return inputs and targets, [rows, 5] each."""
    drawn = torch.randint(13, (rows, 6), generator=torch.Generator().manual_seed(0))
    return drawn[:, :-1], drawn[:, 1:]


def plain_name(name: str) -> str:
    """Return the name in the plain model of a parameter of a routed model."""
    return name.removeprefix("causal_lm.").replace(".plain", "")
