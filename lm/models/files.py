"""Save and load models: one safetensors file, whose metadata name the kind of model and its shape.

Nothing in the file is executed when it is read.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lm.models.gpt import GPT
from lm.models.hf import RoutedCausalLM
from lm.models.language_model import LanguageModel
from lm.models.shapes import EXPANSION, AdapterConfig, GPTConfig
from oversight.runs.folder import from_json

GPT_KIND, HF_KIND = "gpt", "causal_lm"
"""The keys of the shape in the metadata, by the kind of model."""


def save(model: LanguageModel, path: Path) -> None:
    """Write a model to a file; an interrupted write may leave half of it, so write to a draft.

    Raises:
        ValueError: if the file cannot be written.
    """
    kind = HF_KIND if isinstance(model, RoutedCausalLM) else GPT_KIND
    try:
        save_file(_tensors(model), path, {kind: json.dumps(model.shape, sort_keys=True)})
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be written: {error}") from error


def load(path: Path) -> LanguageModel:
    """Return the model that `save` wrote, on the CPU.

    Raises:
        ValueError: if there is no such file, or it is damaged, or holds something else.
    """
    try:
        with safe_open(path, framework="pt") as file:
            ((kind, shape),) = (file.metadata() or {}).items()
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        build = {GPT_KIND: _gpt, HF_KIND: _causal_lm}[kind]
        model = build(json.loads(shape), weights[min(weights)].dtype)
        known = set(_tensors(model))
        if known != set(weights):
            raise KeyError(f"weights {sorted(known ^ set(weights))} are missing or unknown")
        model.load_state_dict(weights, strict=False)  # tied weights are stored once
    except (OSError, SafetensorError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{path} is no model saved by this project, or not all of one: {error}"
        ) from error
    return model


def _gpt(shape: dict[str, Any], dtype: torch.dtype) -> LanguageModel:
    return GPT(from_json(GPTConfig, {"expert_weights": []} | shape, "the metadata")).to(dtype)


def _causal_lm(shape: dict[str, Any], dtype: torch.dtype) -> LanguageModel:
    from transformers import AutoConfig, AutoModelForCausalLM  # noqa: PLC0415

    config = AutoConfig.for_model(**shape["plain"])
    plain = AutoModelForCausalLM.from_config(
        config, dtype=dtype, attn_implementation=shape["attention"]
    )
    adapters = shape["adapters"] and AdapterConfig(**shape["adapters"])
    modules = shape["modules"] or (EXPANSION,)
    return RoutedCausalLM(plain, shape["units"], shape["layers"], 0, adapters, modules)


def _tensors(model: LanguageModel) -> dict[str, Tensor]:
    """Return the tensors of a model by name; tied ones, which have two names, once."""
    found: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        found.setdefault(id(tensor), (name, tensor))
    return {name: tensor.detach().cpu().contiguous() for name, tensor in found.values()}
