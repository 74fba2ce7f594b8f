"""Models of both kinds as files: ours, and those of Hugging Face."""

from pathlib import Path

from safetensors import SafetensorError, safe_open

from lm.hf import weights as of_hugging_face
from lm.hf.model import RoutedCausalLM
from lm.model import weights
from lm.model.gpt import GPT
from lm.model.language_model import LanguageModel


def save(model: LanguageModel, path: Path) -> None:
    """Write a model to a draft of a file.

    Raises:
        ValueError: if the file cannot be written.
    """
    if isinstance(model, RoutedCausalLM):
        of_hugging_face.save(model, path)
    else:
        assert isinstance(model, GPT)
        weights.save(model, path)


def load(path: Path) -> LanguageModel:
    """Return the model that `save` wrote, on the CPU.

    Raises:
        ValueError: if there is no such file, or it is damaged, or of something else.
    """
    return of_hugging_face.load(path) if _is_of_hugging_face(path) else weights.load(path)


def _is_of_hugging_face(path: Path) -> bool:
    try:
        with safe_open(path, framework="pt") as file:
            return of_hugging_face.SHAPE in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False  # what is wrong with the file is said by those who read it
