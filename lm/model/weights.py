"""A model in one file of safetensors: its weights, and its shape beside them."""

import json
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize

from lm.model.gpt import GPT
from lm.model.sizes import GPTConfig
from oversight.files import replace_file
from oversight.record import from_json


def save(model: GPT, path: Path) -> None:
    """Write a model whole: a kill leaves the old file or the new one.

    Raises:
        ValueError: if the file cannot be written.
    """
    tensors = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    replace_file(path, serialize(tensors, {"gpt": json.dumps(asdict(model.config))}))


def load(path: Path) -> GPT:
    """Return the model that `save` wrote.

    Raises:
        ValueError: if there is no such file, or it is damaged, or of something else.
    """
    try:
        with safe_open(path, framework="pt") as file:
            shape = json.loads(file.metadata()["gpt"])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is no model saved by this project, or not all of one: {error}"
        ) from error
    model = GPT(from_json(GPTConfig, shape, str(path)))
    try:
        model.to(weights["embedding"].dtype).load_state_dict(weights)
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"{path} holds weights of another shape than it says") from error
    return model
