"""Load a plain model and its tokenizer from a folder, from the hub, or from a GGUF file."""

from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


T = TypeVar("T")


class Pretrained(NamedTuple):
    """A plain model, in float32 on the CPU, and its tokenizer."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"


def load_tokenizer(
    name_or_path: str | Path, gguf_file: str | None = None
) -> "PreTrainedTokenizerBase":
    """Return the fast tokenizer of a model, which must have an end-of-text token.

    Raises:
        ValueError: as `load_pretrained`, or if the tokenizer is of another kind.
    """
    tokenizer = _or_refused(_tokenizer, name_or_path, gguf_file)
    if not tokenizer.is_fast or tokenizer.eos_token_id is None:
        raise ValueError(
            f"the tokenizer of {name_or_path} is not of the fast kind, or has no token that ends "
            "a text: save a fast one next to the model, with its eos_token"
        )
    return tokenizer


def load_pretrained(name_or_path: str | Path, gguf_file: str | None = None) -> Pretrained:
    """Return a model and its tokenizer.

    Args:
        name_or_path: a folder, or the name of a model on the hub.
        gguf_file: name of a GGUF file in it, whose weights are dequantized.

    Raises:
        ValueError: if there is no such model, it needs a login, the extra `hf` is not installed,
            or the tokenizer has tokens that the model's embedding lacks.
    """
    model, tokenizer = _or_refused(_load, name_or_path, gguf_file)
    if len(tokenizer) > model.config.vocab_size:
        raise ValueError(
            f"the tokenizer of {name_or_path} has {len(tokenizer)} tokens and the model's "
            f"embedding {model.config.vocab_size}: load a model with the tokenizer it was "
            "trained with"
        )
    return Pretrained(model, tokenizer)


def _or_refused(
    load: Callable[[str, str | None], T], name_or_path: str | Path, gguf_file: str | None
) -> T:
    """Call a loader, and turn its errors into a ValueError of one line."""
    name = str(name_or_path)
    try:
        return load(name, gguf_file)
    except ImportError as error:
        raise ValueError(
            f"loading {name} needs a package that is not installed ({first_line(error)}): "
            "pip install -e '.[hf]'"
        ) from error
    except (OSError, ValueError) as error:
        raise ValueError(_refusal(name, error)) from error


def _tokenizer(name: str, gguf_file: str | None) -> "PreTrainedTokenizerBase":
    from transformers import AutoTokenizer  # noqa: PLC0415

    if gguf_file is None:
        return AutoTokenizer.from_pretrained(name)
    return AutoTokenizer.from_pretrained(name, gguf_file=gguf_file)


def _load(name: str, gguf_file: str | None) -> Pretrained:
    from transformers import AutoModelForCausalLM, GgufConfig  # noqa: PLC0415
    from transformers.utils import logging  # noqa: PLC0415

    logging.disable_progress_bar()  # the command line has its own
    tokenizer = _tokenizer(name, gguf_file)
    if gguf_file is None:
        model = AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32)
        return Pretrained(model, tokenizer)
    unpacked = GgufConfig(dequantize=True)
    with redirect_stderr(StringIO()):  # the progress bar of unpacking cannot be disabled
        model = AutoModelForCausalLM.from_pretrained(
            name, dtype=torch.float32, gguf_file=gguf_file, quantization_config=unpacked
        )
    # the weights are dequantized, but a model marked as quantized cannot be saved
    model.hf_quantizer, model.is_quantized = None, False
    return Pretrained(model, tokenizer)


def _refusal(name: str, error: Exception) -> str:
    if is_gated(error):
        return (
            f"{name} is open only to users who accepted its terms: accept them on its page, "
            "then log in by `hf auth login`"
        )
    return (
        f"{name} is no model that can be loaded ({first_line(error)}): give a folder written by "
        "`save_pretrained`, or the name of a causal model on the hub; a private one needs "
        "`hf auth login`"
    )


def is_gated(error: BaseException) -> bool:
    """Return whether an error comes from a repository of the hub whose terms were not accepted."""
    from huggingface_hub.errors import GatedRepoError  # noqa: PLC0415

    link: BaseException | None = error
    while link is not None and not isinstance(link, GatedRepoError):
        link = link.__cause__ or link.__context__
    return link is not None


def first_line(error: BaseException) -> str:
    """Return the first line of an error message, or the name of the error."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
