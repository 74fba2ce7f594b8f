"""Models of both kinds as files: ours, and those of Hugging Face."""

from pathlib import Path

from safetensors import SafetensorError, safe_open

from lm.models import gpt
from lm.models import hf as of_hugging_face
from lm.models.gpt import GPT
from lm.models.hf import RoutedCausalLM
from lm.models.language_model import LanguageModel


def save(model: LanguageModel, path: Path) -> None:
    """Write a model to a draft of a file.

    Raises:
        ValueError: if the file cannot be written.
    """
    if isinstance(model, RoutedCausalLM):
        of_hugging_face.save(model, path)
    else:
        assert isinstance(model, GPT)
        gpt.save(model, path)


def load(path: Path) -> LanguageModel:
    """Return the model that `save` wrote, on the CPU.

    Raises:
        ValueError: if there is no such file, or it is damaged, or of something else.
    """
    return of_hugging_face.load(path) if _is_of_hugging_face(path) else gpt.load(path)


def _is_of_hugging_face(path: Path) -> bool:
    try:
        with safe_open(path, framework="pt") as file:
            return of_hugging_face.SHAPE in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False  # what is wrong with the file is said by those who read it
