"""`--dry-run`: estimates of the parameters, memory and training time of each method of a study.

Parameters are counted on models without storage. Weights are float32 with AdamW, activations
bfloat16, as in training on a GPU. Nothing here was measured.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import torch
from rich.console import Group, RenderableType
from rich.table import Table
from torch import nn

from lm.config import RunConfig, StudyConfig
from lm.data.task import CONTEXT
from lm.methods import METHODS, Method
from lm.models.gpt import GPT
from lm.models.hf import RoutedCausalLM
from lm.models.language_model import LanguageModel, piece_length
from lm.models.layers import ExpansionEmbedding
from lm.pretraining import gpt_shape
from lm.training.distributed import Parallel, ScaleConfig
from oversight.runs.console import plain_table

_QWEN = {
    **{"model_type": "qwen2", "vocab_size": 151_936, "hidden_size": 896, "num_hidden_layers": 24},
    **{"intermediate_size": 4864, "num_attention_heads": 14, "num_key_value_heads": 2},
}
_SMOL = {
    **{"model_type": "llama", "vocab_size": 49_152, "hidden_size": 576, "num_hidden_layers": 30},
    **{"intermediate_size": 1536, "num_attention_heads": 9, "num_key_value_heads": 3},
}
_NEO = {
    **{"model_type": "gpt_neo", "vocab_size": 50_257, "num_layers": 8, "num_heads": 16},
    **{"attention_types": [[["global", "local"], 4]], "max_position_embeddings": 2048},
}

PUBLISHED: dict[str, dict[str, Any]] = {
    "Qwen2.5-0.5B": _QWEN,
    "Qwen2.5-0.5B-Instruct": _QWEN,
    "SmolLM2-135M": _SMOL,
    "SmolLM2-135M-Instruct": _SMOL,
    "TinyStories-8M": {**_NEO, "hidden_size": 256},
    "TinyStories-28M": {**_NEO, "hidden_size": 512},
}
"""Configurations of models on the hub, by the last part of their names."""

PEAK = 989e12
"""Dense bfloat16 operations per second of an H100, as stated by its maker."""
GIB = 2**30
UTILIZATION = 0.3
"""Share of the peak that training is assumed to reach."""


class Shape(NamedTuple):
    """What the estimates depend on."""

    total: int
    """All parameters."""
    added: int
    """Parameters that the method adds."""
    trained: int
    """Parameters that train."""
    block: int
    """Parameters of a block."""
    lookups: int
    """Parameters that are looked up and do not multiply."""
    layers: int
    width: int
    vocab_size: int


def method_shape(run: RunConfig, method: Method, context: int | None = None) -> Shape:
    """Return the shape of a method's model.

    Args:
        run: the settings.
        method: one of `lm.methods.METHODS`.
        context: tokens of a row of documents; by default texts are stories, whose tokenizer gives
            the vocabulary.

    Raises:
        ValueError: if the shape of the pretrained model is not known.
    """
    with torch.device("meta"):
        if run.model is not None:
            return _pretrained_shape(run, method, run.model)
        vocab_size = run.task.vocab_size if context is None else None
        own = gpt_shape(run, method, vocab_size, context or CONTEXT)
        return _shape(GPT(own), _count(GPT(own.plain)))


def _pretrained_shape(run: RunConfig, method: Method, model: str) -> Shape:
    from transformers import AutoConfig, AutoModelForCausalLM  # noqa: PLC0415 (slow to import)

    name = model.rstrip("/").rsplit("/", 1)[-1]
    if name not in PUBLISHED:
        raise ValueError(
            f"the shape of {model} is not known: estimates can be made of {', '.join(PUBLISHED)}"
        )
    config = AutoConfig.for_model(**PUBLISHED[name], tie_word_embeddings=True)
    plain, own = (AutoModelForCausalLM.from_config(config) for _ in range(2))
    adapters = run.adapters if method.adapted else None
    shape = _shape(RoutedCausalLM(own, adapters=adapters), _count(plain))
    if not method.expanded:
        return shape
    # units are drawn from the model's own, which have no storage here, so they are counted
    of_unit = shape.width * 2 + 1 if config.model_type == "gpt_neo" else shape.width * 3
    added = shape.layers * run.expansion * of_unit
    return shape._replace(total=shape.total + added, added=added, trained=shape.trained + added)


def _shape(model: LanguageModel, plain: int) -> Shape:
    total = _count(model)
    trained = {id(each): each for part in model.parameter_targets().values() for each in part}
    lookups = [  # tied embeddings multiply, as output heads
        _count(module)
        for module in model.modules()
        if isinstance(module, ExpansionEmbedding)
        or (isinstance(module, nn.Embedding) and module.num_embeddings != model.vocab_size)
    ]
    return Shape(
        total=total,
        added=total - plain,
        trained=sum(each.numel() for each in trained.values()),
        block=_count(model.layers()[0]),
        lookups=sum(lookups),
        layers=len(model.layers()),
        width=model.width,
        vocab_size=model.vocab_size,
    )


def _count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def memory(shape: Shape, rows: int, context: int, scale: ScaleConfig, gpus: int) -> dict[str, int]:
    """Return the bytes that each GPU holds at the peak of a step, by part.

    Weights include the bfloat16 copies of autocast and, with fsdp, what is gathered at a time: the
    embedding and two blocks. Activations are 34 bytes per token, layer and feature (Korthikanti et
    al. 2022, arXiv 2205.05198, section 4.1) without the scores of attention, which are not kept.

    Args:
        shape: of the model.
        rows: of a batch, of all GPUs together.
        context: tokens of a row.
        scale: how the batch is divided.
        gpus: how many there are.
    """
    sharing = gpus if scale.parallel == "fsdp" else 1
    embedding = shape.total - shape.layers * shape.block
    gathered = 4 * (embedding + 2 * shape.block) if sharing > 1 else 0
    trained = -(-shape.trained // sharing)
    own_rows = -(-rows // (gpus * scale.accumulate))
    features = own_rows * context * shape.width
    kept = 2 * shape.layers + 34 if scale.checkpoint_activations else 34 * shape.layers
    piece = own_rows * min(context, piece_length(own_rows, context, shape.vocab_size))
    return {
        "weights": 4 * -(-shape.total // sharing) + gathered + 2 * shape.total,
        "gradients": 4 * trained,
        "optimizer": 8 * trained,
        "activations": kept * features,
        "logits": 12 * piece * shape.vocab_size,  # and gradients, each in bfloat16 and float32
    }


def operations(shape: Shape, context: int) -> int:
    """Return the floating-point operations per token, forward and backward.

    6 for each parameter that multiplies, and 12 for each layer, feature and position that attention
    reads (Chowdhery et al. 2022, arXiv 2204.02311, appendix B).
    """
    return 6 * (shape.total - shape.lookups) + 12 * shape.layers * shape.width * context


def estimate(study: StudyConfig, context: int | None = None) -> RenderableType:
    """Return a table for each kind of model that a study trains, on one GPU and on eight.

    Args:
        study: the settings.
        context: tokens of a row of documents; by default texts are stories.

    Raises:
        ValueError: if the shape of the pretrained model is not known.
    """
    kinds: dict[Shape, list[str]] = {}
    for name in study.method:
        kinds.setdefault(method_shape(study.run, METHODS[name], context), []).append(name)
    parts = [_table(", ".join(names), shape, study.run, context) for shape, names in kinds.items()]
    note = (
        f"Estimates in GiB per GPU; hours at {UTILIZATION:.0%} of {PEAK / 1e12:.0f} TFLOP/s, an "
        "H100's peak, which was not measured."
    )
    return Group(*parts, note)


def _table(title: str, shape: Shape, run: RunConfig, context: int | None) -> Table:
    context = context or CONTEXT
    tokens = run.loop.steps * run.batch_size * context
    caption = (
        f"{shape.total:,} parameters, {shape.added:,} added, {shape.trained:,} trained; "
        f"{tokens:,} tokens ({run.loop.steps:,} steps x {run.batch_size:,} x {context:,}), "
        f"{operations(shape, context):.3g} operations each"
    )
    parts = ["weights", "gradients", "optimizer", "activations", "logits"]
    table = plain_table(title, "", [*parts, "GiB", "hours"])
    table.caption = caption
    ways: list[tuple[int, Parallel]] = [(1, "none"), (8, "ddp"), (8, "fsdp")]
    for gpus, parallel in ways:
        scale = replace(run.loop.scale, parallel=parallel)
        held = memory(shape, run.batch_size, context, scale, gpus)
        sizes = [f"{size / GIB:.2f}" for size in (*held.values(), sum(held.values()))]
        seconds = tokens * operations(shape, context) / (PEAK * UTILIZATION * gpus)
        name = "1 GPU" if gpus == 1 else f"{gpus} GPUs, {parallel}"
        table.add_row(name, *sizes, f"{seconds / 3600:.2g}")
    return table
