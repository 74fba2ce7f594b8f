"""A routed model of Hugging Face in one file of safetensors: weights, and shape beside them."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lm.hf.adapters import AdapterConfig
from lm.hf.model import RoutedCausalLM

SHAPE = "causal_lm"
"""The name of the shape in the file's metadata."""


def save(model: RoutedCausalLM, path: Path) -> None:
    """Write a model; a kill may leave half a file, so write to a draft.

    Raises:
        ValueError: if the file cannot be written.
    """
    try:
        save_file(_once(model), path, {SHAPE: json.dumps(model.shape)})
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be written: {error}") from error


def load(path: Path) -> RoutedCausalLM:
    """Return the model that `save` wrote, on the CPU.

    Raises:
        ValueError: if there is no such file, or it is damaged, or of something else.
    """
    from transformers import AutoConfig, AutoModelForCausalLM  # noqa: PLC0415

    try:
        with safe_open(path, framework="pt") as file:
            shape = json.loads(file.metadata()[SHAPE])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        config = AutoConfig.for_model(**shape["plain"])
        dtype = next(iter(weights.values())).dtype
        plain = AutoModelForCausalLM.from_config(config, dtype=dtype)
        adapters = shape["adapters"] and AdapterConfig(**shape["adapters"])
        model = RoutedCausalLM(plain, shape["units"], shape["layers"], adapters=adapters)
        known = set(_once(model))
        if known != set(weights):
            raise KeyError(f"weights {sorted(known ^ set(weights))} are missing or unknown")
        model.load_state_dict(weights, strict=False)  # tied ones are there once
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{path} is no model saved by this project, or not all of one: {error}"
        ) from error
    return model


def _once(model: RoutedCausalLM) -> dict[str, Tensor]:
    """Return the tensors of a model by name, each once, though tied ones have two names."""
    found: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        found.setdefault(id(tensor), (name, tensor))
    return {name: tensor.detach().cpu().contiguous() for name, tensor in found.values()}
