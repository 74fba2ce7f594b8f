"""`--dry-run`: estimates of parameters, memory, disk and training time of the methods of a study.

Parameters are counted on models without storage. Weights are float32 with AdamW, activations
bfloat16, as in training on a GPU. Nothing here was measured.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.table import Table
from torch import nn

from lm.config import RunConfig, StudyConfig
from lm.data.shards import read_manifest
from lm.data.task import CONTEXT, FOREIGN_CONTEXT
from lm.jobs import Job, jobs_of
from lm.methods import Method, method_of
from lm.models.gpt import GPT
from lm.models.hf import RoutedCausalLM
from lm.models.hf_architecture import architecture_of
from lm.models.hf_layers import zero_units
from lm.models.hf_loading import load_config
from lm.models.language_model import LanguageModel, piece_length
from lm.pretraining import gpt_shape
from lm.results import topics_in_words
from lm.run import LARGE, removable
from lm.training.distributed import Parallel, ScaleConfig
from oversight.runs.console import plain_table

_SIZES = ("vocab_size", "hidden_size", "num_hidden_layers", "intermediate_size")
_HEADS = ("num_attention_heads", "num_key_value_heads")
_QWEN = dict(zip((*_SIZES, *_HEADS), (151_936, 896, 24, 4864, 14, 2), strict=True))
_SMOL = dict(zip((*_SIZES, *_HEADS), (49_152, 576, 30, 1536, 9, 3), strict=True))
_MISTRAL = {
    **dict(zip((*_SIZES, *_HEADS), (32_000, 4096, 32, 14_336, 32, 8), strict=True)),
    "tie_word_embeddings": False,
}
_NEO = {"vocab_size": 50_257, "num_layers": 8, "attention_types": [[["global", "local"], 4]]}

PUBLISHED: dict[str, tuple[str, dict[str, Any]]] = {
    "Qwen2.5-0.5B": ("qwen2", _QWEN),
    "SmolLM2-135M": ("llama", _SMOL),
    "zephyr-7b-beta": ("mistral", _MISTRAL),
    "TinyStories-8M": ("gpt_neo", {**_NEO, "hidden_size": 256}),
    "TinyStories-28M": ("gpt_neo", {**_NEO, "hidden_size": 512}),
}
"""Families and configurations of models on the hub, by the last part of their names."""

PEAK = 989e12
"""Dense bfloat16 operations per second of an H100, as stated by its maker."""
UTILIZATION = 0.3
"""Share of the peak that training is assumed to reach."""


class Shape(NamedTuple):
    """The sizes of a model on which the estimates depend."""

    total: int
    """All parameters."""
    added: int
    """Parameters that the method adds."""
    trained: int
    """Parameters that train."""
    block: int
    """Parameters of a block."""
    layers: int
    width: int
    vocab_size: int


def method_shape(run: RunConfig, method: Method, context: int | None = None) -> Shape:
    """Return the shape of a method's model.

    Args:
        run: settings of the run.
        method: one of `lm.methods.METHODS`.
        context: tokens of a row of documents; by default texts are stories, whose tokenizer gives
            the vocabulary.

    Raises:
        ValueError: if the shape of the pretrained model is not known.
    """
    with torch.device("meta"):
        if run.model is not None:
            return _pretrained_shape(run, method, run.model)
        if run.data is not None:
            vocab_size: int | None = read_manifest(run.data).vocabulary.size
        else:
            vocab_size = run.task.vocab_size if context is None else None
        expanded = gpt_shape(run, method, vocab_size, context or CONTEXT)
        return _shape(GPT(expanded), _count(GPT(expanded.plain)))


def _pretrained_shape(run: RunConfig, method: Method, model: str) -> Shape:
    from transformers import AutoConfig, AutoModelForCausalLM  # noqa: PLC0415 (slow to import)

    name = model.rstrip("/").rsplit("/", 1)[-1].removesuffix("-Instruct")
    if Path(model).is_dir():
        config = load_config(model, run.gguf_file)
    elif name in PUBLISHED:
        family, sizes = PUBLISHED[name]
        config = AutoConfig.for_model(family, **{"tie_word_embeddings": True, **sizes})
    else:
        raise ValueError(
            f"the shape of {model} is not known: estimates can be made of folders, and of "
            f"{', '.join(PUBLISHED)}"
        )
    plain = AutoModelForCausalLM.from_config(config)
    total = _count(plain)
    adapters = run.adapters if method.kind == "adapters" else None
    modules = method.module_names(run.topics)
    added = 0
    if method.kind == "units":
        # counted on zero units, since drawn ones depend on weights, which have no storage
        architecture = architecture_of(plain)
        mlp = architecture.blocks(plain)[0].get_submodule(architecture.mlp)
        unit = _count(zero_units(mlp, architecture, 1))
        added = len(architecture.blocks(plain)) * len(modules) * run.expansion * unit
    shape = _shape(RoutedCausalLM(plain, adapters=adapters, modules=modules), total)
    if method.kind != "units":
        return shape
    return shape._replace(total=total + added, added=added, trained=shape.trained + added)


def _shape(model: LanguageModel, plain: int) -> Shape:
    """Return the sizes of a model, which has `plain` parameters without the method's additions."""
    trained = {id(each): each for part in model.parameter_targets().values() for each in part}
    return Shape(
        total=_count(model),
        added=_count(model) - plain,
        trained=sum(each.numel() for each in trained.values()),
        block=_count(model.layers()[0]),
        layers=len(model.layers()),
        width=model.width,
        vocab_size=model.vocab_size,
    )


def _count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def memory(shape: Shape, rows: int, context: int, scale: ScaleConfig, gpus: int) -> int:
    """Return the bytes that each GPU holds at the peak of a step.

    Weights include the bfloat16 copies of autocast and, with fsdp, what is gathered at a time: the
    embedding and two blocks. Activations are 34 bytes per token, layer and feature (Korthikanti et
    al. 2022, arXiv 2205.05198, section 4.1) without the scores of attention, which are not kept.

    Args:
        shape: sizes of the model.
        rows: number of rows in a batch, over all GPUs.
        context: tokens of a row.
        scale: how the batch is divided.
        gpus: number of GPUs.
    """
    sharing = gpus if scale.parallel == "fsdp" else 1
    gathered = shape.total - (shape.layers - 2) * shape.block if sharing > 1 else 0
    weights = 4 * (-(-shape.total // sharing) + gathered) + 2 * shape.total
    gradients_and_optimizer = 12 * -(-shape.trained // sharing)
    local_rows = -(-rows // (gpus * scale.accumulate))
    kept = 2 * shape.layers + 34 if scale.checkpoint_activations else 34 * shape.layers
    activations = kept * local_rows * context * shape.width
    piece = min(context, piece_length(local_rows, context, shape.vocab_size))
    # logits and their gradients, each in bfloat16 and float32
    logits = 12 * local_rows * piece * shape.vocab_size
    return weights + gradients_and_optimizer + activations + logits


def disk(shape: Shape, name: str, pretrained: bool) -> tuple[int, int]:
    """Return the bytes that a run keeps, and those that it needs besides until it is repaired.

    Weights are float32. A run holds them as trained, ablated and repaired, and a pretrained model
    also in the format of transformers; the checkpoint of training has the moments of AdamW as well.

    Args:
        shape: sizes of the model.
        name: name of the method.
        pretrained: whether it trains a pretrained model.
    """
    added = shape.added if method_of(name).ablation == "expansion" else 0
    sizes = {"trained": 4 * shape.total, "ablated": 4 * (shape.total - added)}
    removed = sum(sizes[stage] for stage in removable(name) if sizes[stage] > LARGE)
    whole = sizes["trained"] + (3 if pretrained else 2) * sizes["ablated"]
    checkpoint = 4 * shape.total + 8 * shape.trained
    return whole - removed, max(removed, checkpoint)


def operations(shape: Shape, context: int) -> int:
    """Return the floating-point operations per token, forward and backward.

    6 for each parameter, and 12 for each layer, feature and position that attention reads
    (Chowdhery et al. 2022, arXiv 2204.02311, appendix B).
    """
    return 6 * shape.total + 12 * shape.layers * shape.width * context


def _training_steps(run: RunConfig, name: str) -> int:
    """Return the number of steps of the training of a method, and of its labeler if it has one."""
    steps = run.loop.steps
    return steps + (run.assignment.labeler_steps(steps) if method_of(name).labeler else 0)


def _steps_after_training(run: RunConfig, name: str) -> int:
    """Return the number of steps that a method takes after training."""
    after = method_of(name).posthoc
    return 0 if after is None else run.posthoc.method(after).total_steps


WAYS: dict[str, tuple[int, Parallel]] = {
    "1 GPU": (1, "none"),
    "8 GPUs,\nddp": (8, "ddp"),
    "8 GPUs,\nfsdp": (8, "fsdp"),
}
"""Numbers of GPUs and how they share the work, by the headings of columns."""


def estimate(study: StudyConfig, context: int | None = None) -> Table:
    """Return a row for each method of a study, with estimates for one GPU and for eight.

    In a sweep over the tax, there is a row for each size and number of the modules of a method.

    Args:
        study: settings of the study.
        context: tokens of a row of documents; by default texts are stories.

    Raises:
        ValueError: if the shape of the pretrained model is not known.
    """
    study.require_fitting_methods()
    run = study.run
    if run.texts.forget:
        context = run.texts.preparation.context
    elif run.data is not None:
        context = read_manifest(run.data).setting("context")
    length = context or (CONTEXT if run.model is None else FOREIGN_CONTEXT)
    of_step = run.batch_size * length
    headings = ["parameters", "added", "trained", *WAYS, "hours,\n1 GPU", "hours,\n8 GPUs", "disk"]
    table = plain_table("estimates of training", "method", headings)
    jobs = jobs_of(study, Path())
    runs, stored, passing = Counter(map(_row_name, jobs)), 0, 0
    for row, job in {_row_name(job): job for job in jobs}.items():
        name = job.method
        shape = method_shape(job.config, method_of(name), context)
        sizes = [
            memory(shape, run.batch_size, length, replace(run.loop.scale, parallel=parallel), gpus)
            for gpus, parallel in WAYS.values()
        ]
        read = (_training_steps(run, name) or 2 * _steps_after_training(run, name)) * of_step
        hours = read * operations(shape, length) / (PEAK * UTILIZATION) / 3600
        parameters = [f"{count:,}" for count in (shape.total, shape.added, shape.trained)]
        memories = [f"{size / 2**30:.2f}" for size in sizes]
        kept, most = disk(shape, name, run.model is not None)
        stored, passing = stored + kept * runs[row], max(passing, most)
        numbers = [*parameters, *memories, f"{hours:.2g}", f"{hours / 8:.2g}"]
        table.add_row(row, *numbers, f"{kept / 2**30:.2f}")
    table.caption = (
        f"{_training(run, length)}. Memory in GiB per GPU; hours at {UTILIZATION:.0%} of "
        f"{PEAK / 1e12:.0f} TFLOP/s, an H100's peak, which was not measured. Disk in GiB of each "
        f"run; all {sum(runs.values())} runs keep {stored / 2**30:.2f} GiB, and a run needs up to "
        f"{passing / 2**30:.2f} GiB more until it is repaired."
    )
    return table


def _row_name(job: Job) -> str:
    """Return the name of a run's row, which it shares with all runs of models of the same shape."""
    study, variation = job.study, job.variation
    units = f", {variation.expansion} units" if variation.expansion else ""
    counted = len({each.topic_count for each in study.variations}) > 1
    topics = f", {topics_in_words(variation.topic_count)}" if counted else ""
    return job.method + (units + topics) * (study.sweep == "tax")


def _training(run: RunConfig, length: int) -> str:
    """Return the number of tokens that a model is trained on, as a product."""
    steps, rows = run.loop.steps, run.batch_size
    tokens = f"{steps * rows * length:,} tokens: {steps:,} steps x {rows:,} x {length:,}"
    if steps:
        return tokens
    return f"{tokens}, and hours of the steps after training, each on two batches"
