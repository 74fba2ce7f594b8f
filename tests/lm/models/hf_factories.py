"""Tiny models of each Hugging Face family, with random weights."""

import copy
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from lm.models.hf import RoutedCausalLM
from lm.models.layers import AdapterConfig

transformers = pytest.importorskip("transformers")

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SIZES = {"vocab_size": 13, "hidden_size": 8, "max_position_embeddings": 16}
LLAMA = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}
GROUPED = {**SIZES, **LLAMA, "num_key_value_heads": 1}

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
}
FAMILIES = pytest.mark.parametrize("family", CONFIGS)


def plain_model(family: str, dtype: torch.dtype = torch.float32) -> "PreTrainedModel":
    """Return a plain model whose parameters are all large and random."""
    generator = torch.Generator().manual_seed(7)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = copy.deepcopy(CONFIGS[family])  # the model keeps it, and a test may change it
        model = transformers.AutoModelForCausalLM.from_config(config).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def expanded_model(family: str, dtype: torch.dtype = torch.float32) -> RoutedCausalLM:
    """Return a model with three added units in its second layer, whose output is not zero."""
    model = RoutedCausalLM(plain_model(family, dtype), 3, [1])
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for parameter in model.parameter_targets()["expansion_parameters"]:
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def adapted_model(family: str, dtype: torch.dtype = torch.float32) -> RoutedCausalLM:
    """Return a model with two adapters at each linear map, with random trained weights."""
    model = RoutedCausalLM(plain_model(family, dtype), adapters=AdapterConfig(rank=2, alpha=3.0))
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
