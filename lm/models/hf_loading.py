"""Load a plain model and its tokenizer from a folder, from the hub, or from a GGUF file."""

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch
from safetensors import safe_open

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


T = TypeVar("T")


class Pretrained(NamedTuple):
    """A plain model, in float32 on the CPU, and its tokenizer."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"


def load_tokenizer(
    name_or_path: str | Path, gguf_file: str | None = None
) -> "PreTrainedTokenizerBase":
    """Return the tokenizer of a model, which must be of the fast kind.

    Raises:
        ValueError: as `load_pretrained`, or if the tokenizer is of another kind.
    """
    tokenizer = _or_refused(_tokenizer, name_or_path, gguf_file)
    if not tokenizer.is_fast:
        raise ValueError(
            f"the tokenizer of {name_or_path} is not of the fast kind: save a fast one next to the "
            "model"
        )
    return tokenizer


def load_pretrained(name_or_path: str | Path, gguf_file: str | None = None) -> Pretrained:
    """Return a model and its tokenizer.

    Args:
        name_or_path: a folder, or the name of a model on the hub.
        gguf_file: name of a GGUF file in it, whose weights are dequantized.

    Raises:
        ValueError: if there is no such model, it needs a login, the extra `hf` is not installed,
            its weights are damaged, incomplete, not finite, no real numbers or of an adapter alone,
            it needs code of its own, or the tokenizer has tokens that the model's embedding lacks.
    """
    model, tokenizer, info = _or_refused(_load, name_or_path, gguf_file)
    require_whole(str(name_or_path), model, info)
    if gguf_file is None:
        require_real(str(name_or_path), model)
    embedded = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > embedded:
        raise ValueError(
            f"the tokenizer of {name_or_path} has {len(tokenizer)} tokens and the model's "
            f"embedding {embedded}: load a model with the tokenizer it was trained with"
        )
    return Pretrained(model, tokenizer)


def load_config(name_or_path: str | Path, gguf_file: str | None = None) -> "PretrainedConfig":
    """Return the configuration of a model, without its weights.

    Raises:
        ValueError: as `load_pretrained`.
    """
    return _or_refused(_config, name_or_path, gguf_file)


def _config(name: str, gguf_file: str | None) -> "PretrainedConfig":
    from transformers import AutoConfig  # noqa: PLC0415

    file = {} if gguf_file is None else {"gguf_file": gguf_file}
    return AutoConfig.from_pretrained(name, trust_remote_code=False, **file)


DERIVED = re.compile(r"rotary_emb\.|rope_freqs|\.masked_bias$|\.attn(\.attention)?\.bias$")
"""Tensors that some checkpoints hold and models compute: rotary frequencies and causal masks."""


def require_whole(name: str, model: "PreTrainedModel", info: Mapping[str, Any]) -> None:
    """Raise a ValueError unless a checkpoint gave each weight of a model, all of them finite.

    Args:
        name: name or folder of the model.
        model: the loaded model.
        info: what transformers reports about the loading.
    """
    unknown = [key for key in info["unexpected_keys"] if not DERIVED.search(key)]
    wrong = [f"{key} (shape {tuple(own)})" for key, own, _ in info["mismatched_keys"]]
    not_finite = [key for key, each in model.named_parameters() if not each.isfinite().all()]
    for found, what in (
        (info["missing_keys"], "lacks"),
        (wrong, "has other shapes than its configuration states for"),
        (unknown, "has what no part of the model reads, under"),
        (not_finite, "has values that are not finite in"),
    ):
        if found:
            names = sorted(found)
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise ValueError(
                f"the checkpoint of {name} {what} {', '.join(names[:3])}{more}: give a complete "
                f"one, of a {type(model).__name__} as its configuration describes it"
            )
    if getattr(model, "_hf_peft_config_loaded", False):
        raise ValueError(ADAPTER.format(name))


def require_real(name: str, model: "PreTrainedModel") -> None:
    """Raise a ValueError if weights are stored as whole or complex numbers, or as truth values.

    They are those of a quantized model whose configuration does not say so, or damaged, and would
    be converted without a word.

    Args:
        name: name or folder of the model.
        model: the loaded model.
    """
    buffers = {key for key, _ in model.named_buffers()}
    for file in _stored(name):
        for key, kind in _kinds(file):
            # base models are stored without the prefix of their parameters, so names may differ
            if kind.startswith(("F", "BF")) or key in buffers or DERIVED.search(key):
                continue
            raise ValueError(
                f"the checkpoint of {name} stores {key} as {kind}, which are no real numbers: "
                "give the model before it was quantized"
            )


def _kinds(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the names of stored tensors and their types, such as F32 and I8, without the values."""
    if file.suffix == ".safetensors":
        with safe_open(file, framework="pt") as weights:
            for key in weights.keys():  # noqa: SIM118
                yield key, weights.get_slice(key).get_dtype()
    else:
        for key, tensor in torch.load(file, map_location="meta", weights_only=True).items():
            kind = str(tensor.dtype).removeprefix("torch.")
            yield key, kind.upper() if tensor.is_floating_point() else kind


def _stored(name: str) -> list[Path]:
    """Return the files of weights that a model was loaded from, in the order of transformers."""
    from transformers.utils.hub import cached_file  # noqa: PLC0415

    def local(file: str) -> Path | None:
        found = cached_file(
            name,
            file,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        return None if found is None else Path(found)

    for whole in ("model.safetensors", "pytorch_model.bin"):
        if path := local(whole):
            return [path]
        if index := local(f"{whole}.index.json"):
            names = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
            return [path for each in sorted(names) if (path := local(each)) is not None]
    return []


ADAPTER = (
    "{} holds an adapter (PEFT) without the model: merge it by `merge_and_unload`, and give the "
    "folder that `save_pretrained` then writes"
)


def _or_refused(
    load: Callable[[str, str | None], T], name_or_path: str | Path, gguf_file: str | None
) -> T:
    """Call a loader, and turn its errors into a ValueError of one line."""
    name = str(name_or_path)
    if not name:
        raise ValueError("the name of a model is empty: give a folder, or a name on the hub")
    if (Path(name) / "adapter_config.json").is_file() and not (Path(name) / "config.json").exists():
        raise ValueError(ADAPTER.format(name))
    try:
        return load(name, gguf_file)
    except ImportError as error:
        raise ValueError(
            f"loading {name} needs a package that is not installed ({first_line(error)}): install "
            "it, or those of most models by pip install -e '.[hf]'"
        ) from error
    except Exception as error:  # readers of damaged files raise errors of many kinds
        raise ValueError(_refusal(name, error)) from error


def _tokenizer(name: str, gguf_file: str | None) -> "PreTrainedTokenizerBase":
    from transformers import AutoTokenizer  # noqa: PLC0415

    file = {} if gguf_file is None else {"gguf_file": gguf_file}
    tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False, **file)
    tokenizer("a")  # settings of another type are not noticed before
    return tokenizer


def save_pretrained(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", path: Path
) -> None:
    """Write a plain model and its tokenizer to a folder, which gets its name when it is complete.

    Raises:
        ValueError: if the folder cannot be written.
    """
    draft = path.with_name(f".{path.name}")
    shutil.rmtree(draft, ignore_errors=True)  # left by a kill
    _silence()
    try:
        model.save_pretrained(draft)
        tokenizer.save_pretrained(draft)
        draft.rename(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error}") from error


def _silence() -> None:
    """Let transformers report errors only."""
    from transformers.utils import logging  # noqa: PLC0415

    logging.disable_progress_bar()  # the command line has its own
    logging.set_verbosity_error()  # what is missing is an error here, and reported in one line


class _Loaded(NamedTuple):
    """A model, its tokenizer, and what transformers reports about the loading."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    info: Mapping[str, Any]


def _load(name: str, gguf_file: str | None) -> _Loaded:
    from transformers import AutoModelForCausalLM, GgufConfig  # noqa: PLC0415

    _silence()
    tokenizer = _tokenizer(name, gguf_file)
    settings: dict[str, Any] = {
        "dtype": torch.float32,
        "output_loading_info": True,
        "trust_remote_code": False,  # by default, a terminal is asked
        "ignore_mismatched_sizes": True,  # they are refused with their names
    }
    if gguf_file is None:
        model, info = AutoModelForCausalLM.from_pretrained(name, **settings)
        return _Loaded(model, tokenizer, info)
    settings |= {"gguf_file": gguf_file, "quantization_config": GgufConfig(dequantize=True)}
    with redirect_stderr(StringIO()):  # the progress bar of unpacking cannot be disabled
        model, info = AutoModelForCausalLM.from_pretrained(name, **settings)
    # the weights are dequantized, but a model marked as quantized cannot be saved
    model.hf_quantizer, model.is_quantized = None, False
    return _Loaded(model, tokenizer, info)


def _refusal(name: str, error: Exception) -> str:
    if is_gated(error):
        return (
            f"{name} is open only to users who accepted its terms: accept them on its page, "
            "then log in by `hf auth login`"
        )
    if "trust_remote_code" in str(error):
        return (
            f"{name} needs Python code of its own, which is never run: give a model that "
            "transformers has the code of"
        )
    if "backend tokenizer" in str(error):
        return (
            f"{name} is no model that can be loaded with its tokenizer, which is missing or "
            "damaged: save the model and its tokenizer, of the fast kind, in one folder"
        )
    if re.search("weights.only", str(error), re.IGNORECASE):
        return (
            f"{name} is no model that can be loaded: its pickle file holds more than weights, or "
            "is damaged, and is never run: give a folder with .safetensors files"
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
    """Return the first line of an error message, or the name of the error.

    A line that ends with a colon is followed by the next one. The message of a `KeyError` is only
    the key, and comes after the name of the error.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines or isinstance(error, KeyError):
        return " ".join([type(error).__name__, *lines[:1]])
    return " ".join(lines[:2] if lines[0].endswith(":") else lines[:1])
