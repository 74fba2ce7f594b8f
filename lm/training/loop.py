"""The training loop: mixed batches, a route for each token, an optimizer group for each target.

- a target that no token teaches does not move, nor does its optimizer state;
- gradients are clipped target by target, so that one does not shrink the step of another;
- the state is a function of settings and step: a resumed run gives the same bits.

What to do when memory is short, in one line.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from math import cos, pi
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW, Optimizer

from lm.models.language_model import LanguageModel
from lm.training.batches import Batch, Batches, counted, require_known
from lm.training.checkpoints import Resume
from lm.training.distributed import (
    ScaleConfig,
    all_reduce,
    all_reduce_gradients,
    prepared,
    replicate,
    shard,
    shares,
    unshard,
)
from oversight.routing import RouteTable, parameter_groups, routing, skip_unreached

SHORT = ("not enough memory", "can't allocate memory", "cannot allocate memory")
"""How PyTorch says so of a CPU's memory."""


@contextmanager
def enough_memory() -> Iterator[None]:
    """Turn what PyTorch raises when memory is short into advice.

    Raises:
        ValueError: if memory is short.
    """
    try:
        yield
    except RuntimeError as error:
        short = any(words in str(error).lower() for words in SHORT)
        if not short and not isinstance(error, torch.OutOfMemoryError):
            raise
        raise ValueError(
            "the memory does not hold a training step: lower batch_size, raise accumulate, "
            "checkpoint activations, or share the weights out between more processes by fsdp"
        ) from error


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopConfig:
    """How to train.

    Raises:
        ValueError: if a number is out of its range.
    """

    steps: int = 800
    """batches to train on"""
    learning_rate: float = 3e-3
    """step size of AdamW after the warm-up"""
    final_share: float = 0.1
    """the learning rate at the end, as a share of that after the warm-up"""
    warmup: int = 50
    """steps in which the learning rate rises"""
    betas: tuple[float, float] = (0.9, 0.95)
    """decay of AdamW's two averages"""
    weight_decay: float = 0.1
    """decay of the parameters of each target that a step reaches"""
    clip_norm: float = 1.0
    """largest norm of a target's gradient"""
    checkpoint_every: int = 200
    """steps between checkpoints"""
    scale: ScaleConfig = field(default_factory=ScaleConfig)
    """how a batch is spread over processes and time"""

    def __post_init__(self) -> None:
        if self.steps < 0 or self.warmup < 0 or self.checkpoint_every < 1:
            raise ValueError(
                f"steps {self.steps}, warmup {self.warmup}, checkpoint_every "
                f"{self.checkpoint_every} were given: none may be negative, the last not 0"
            )
        if min(self.learning_rate, self.clip_norm) <= 0 or not 0 <= self.final_share <= 1:
            raise ValueError(
                f"learning_rate {self.learning_rate}, clip_norm {self.clip_norm}, final_share "
                f"{self.final_share} were given: the first two must be positive, the last a share"
            )

    @property
    def identity(self) -> dict[str, Any]:
        """What training depends on, in plain data: all but how batches are spread."""
        return {name: value for name, value in asdict(self).items() if name != "scale"}


class Progress(NamedTuple):
    """What a step reports.

    The loss is the mean over the tokens of the batch, and reading it waits for the device; the
    speed is that since this call of `train` began; a skipped target is one that no token of the
    batch taught.
    """

    step: int
    loss: Tensor
    learning_rate: float
    tokens_per_second: float
    skipped: tuple[str, ...]


def train(
    model: LanguageModel,
    table: RouteTable,
    batches: Batches,
    config: LoopConfig,
    path: Path | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Optimizer:
    """Train a model in place, on the device where it is, and return the optimizer.

    Inside `lm.training.distributed.joined`, processes that all call alike train it together.

    Args:
        model: it trains in bfloat16 on a GPU, by autocast, and in its own type on a CPU.
        table: the weight of each route at each target.
        batches: the batch of each step, its routes made for the table.
        config: how to train.
        path: where the checkpoint is; if it exists, training goes on from there.
        report: called after each step.

    Raises:
        ValueError: if the checkpoint is damaged, or of other settings, model, table or data; if a
            batch does not fit the model, or cannot be shared out; if memory is short.
    """
    identity = {"config": config.identity, "model": model.shape, "table": table.as_dict()}
    if config.scale.processes.size > 1:
        replicate(model)
    trained = shard(model) if config.scale.parallel == "fsdp" else model
    optimizer = make_optimizer(trained, config)
    resume = Resume(path, identity | {"data": batches.digest})
    first = resume.restore(trained, optimizer)
    with prepared(trained, config.scale):
        for progress in steps(trained, table, batches, optimizer, config, first):
            report(progress)
            done = progress.step + 1
            if done % config.checkpoint_every == 0 or done == config.steps:
                resume.save(trained, optimizer, done)
    if trained is not model:
        unshard(trained, model)
    return optimizer


def steps(
    model: LanguageModel,
    table: RouteTable,
    batches: Batches,
    optimizer: Optimizer,
    config: LoopConfig,
    first: int = 0,
) -> Iterator[Progress]:
    """Train step by step, and yield what each reports.

    Args:
        model: whole or sharded.
        table: the weight of each route at each target.
        batches: the batch of each step.
        optimizer: of the model.
        config: how to train.
        first: the step to begin with.
    """
    started, tokens, table = time.perf_counter(), 0, table.to(model.device)
    for step in range(first, config.steps):
        batch, rate = batches(step), learning_rate(step, config)
        require_known(batch, model.vocab_size)
        pieces = shares(batch, config.scale)
        with enough_memory():
            loss = learn(model, table, pieces, counted(batch))
            if config.scale.parallel == "ddp":
                all_reduce_gradients([p for g in optimizer.param_groups for p in g["params"]])
            skipped = move(optimizer, rate, config.clip_norm)
        if config.scale.parallel != "none":
            loss = all_reduce(loss)
        tokens += batch.inputs.numel()
        speed = tokens / (time.perf_counter() - started)
        yield Progress(step, loss, rate, speed, skipped)


def make_optimizer(model: LanguageModel, config: LoopConfig) -> AdamW:
    """Return an optimizer with a group for each target."""
    groups = parameter_groups(model, model.parameter_targets(), config.weight_decay)
    return AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)


def update(
    model: LanguageModel,
    table: RouteTable,
    batch: Batch,
    optimizer: Optimizer,
    rate: float,
    clip_norm: float,
) -> tuple[Tensor, tuple[str, ...]]:
    """Take one step; return the loss, and the targets that no token taught.

    Args:
        model: what to train.
        table: the weight of each route at each target.
        batch: on the model's device.
        optimizer: from `make_optimizer`.
        rate: the learning rate.
        clip_norm: the largest norm of a target's gradient.
    """
    loss = learn(model, table, [batch], counted(batch))
    return loss, move(optimizer, rate, clip_norm)


def learn(
    model: LanguageModel, table: RouteTable, pieces: Sequence[Batch], count: Tensor
) -> Tensor:
    """Add the gradients of pieces of a batch to those there are, and return the loss.

    Args:
        model: what to train.
        table: the weight of each route at each target.
        pieces: computed one after another.
        count: by which the sum of the losses is divided, as `counted` tells it of the whole batch.
    """
    device = model.device
    count, total = count.to(device, non_blocking=True), torch.zeros((), device=device)
    for piece in pieces:
        here = Batch(*(part.to(device, non_blocking=True) for part in piece))
        with routing(model, table, here.route):
            with precision(device):
                loss = model.total_loss(here.inputs, here.targets) / count
            loss.backward()  # type: ignore[no-untyped-call]
        total = total + loss.detach()
    return total


def move(optimizer: Optimizer, rate: float, clip_norm: float) -> tuple[str, ...]:
    """Move parameters by their gradients; return the targets that no token taught."""
    skipped = skip_unreached(optimizer)
    for group in optimizer.param_groups:
        clip_grad_norm_(group["params"], clip_norm)
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad()
    return skipped


def precision(device: torch.device) -> AbstractContextManager[Any]:
    """Return bfloat16 autocast on a GPU, and nothing on a CPU, where it is slower than float32."""
    if device.type == "cpu":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def learning_rate(step: int, config: LoopConfig) -> float:
    """Return the learning rate of a step: a linear rise, then half a cosine down.

    >>> config = LoopConfig(steps=3, warmup=2, learning_rate=1.0, final_share=0.0)
    >>> [learning_rate(step, config) for step in range(3)]
    [0.5, 1.0, 1.0]
    """
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    share = (step - config.warmup) / max(1, config.steps - config.warmup)
    height = config.final_share + (1 - config.final_share) * (1 + cos(pi * share)) / 2
    return config.learning_rate * height
