"""Save and load models of both kinds."""

from pathlib import Path

from safetensors import SafetensorError, safe_open

from lm.models import gpt, hf
from lm.models.gpt import GPT
from lm.models.hf import RoutedCausalLM
from lm.models.language_model import LanguageModel


def save(model: LanguageModel, path: Path) -> None:
    """Write a model to a file; an interrupted write may leave half of it, so write to a draft.

    Raises:
        ValueError: if the file cannot be written.
    """
    if isinstance(model, RoutedCausalLM):
        hf.save(model, path)
    else:
        assert isinstance(model, GPT)
        gpt.save(model, path)


def load(path: Path) -> LanguageModel:
    """Return the model that `save` wrote, on the CPU.

    Raises:
        ValueError: if there is no such file, or it is damaged, or holds something else.
    """
    return hf.load(path) if _is_hf(path) else gpt.load(path)


def _is_hf(path: Path) -> bool:
    try:
        with safe_open(path, framework="pt") as file:
            return hf.SHAPE in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False  # the reader of the file explains what is wrong
