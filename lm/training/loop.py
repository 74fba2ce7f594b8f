"""The training loop: mixed batches, a route for each token, an optimizer group for each target.

- A target that no token of a batch teaches does not move, nor does its optimizer state: AdamW
  would move it by momentum and weight decay though its gradient is zero.
- Gradients are clipped target by target, so that the norm of one does not shrink the step of
  another.
- The state is a function of settings and step: a resumed run gives the same bits.
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
from lm.training.batches import Batch, Batches, count_targets, require_in_vocabulary
from lm.training.checkpoints import Resume
from lm.training.distributed import (
    ScaleConfig,
    all_reduce,
    all_reduce_gradients,
    compile_and_checkpoint,
    local_pieces,
    replicate,
    shard,
    unshard,
)
from lm.training.gradient_audit import Shares, gradient_shares
from oversight.routing import RouteTable, parameter_groups, routing, skip_unreached
from oversight.runs.settings import ADDED_LATER, UNIT, require_number, require_numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopConfig:
    """How to train.

    Raises:
        ValueError: if a number is out of its range.
    """

    steps: int = 800
    """Number of batches to train on. 0 leaves a pretrained model as it is, for methods that follow
    training."""
    learning_rate: float = 3e-3
    """Learning rate of AdamW after the warm-up."""
    final_share: float = 0.1
    """Final learning rate as a fraction of the rate after the warm-up."""
    warmup: int = 50
    """Number of steps of linear warm-up."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decay rates of the two moving averages of AdamW."""
    weight_decay: float = 0.1
    """Weight decay of the targets that a step trains."""
    clip_norm: float = 1.0
    """Maximum norm of the gradient of each target."""
    checkpoint_every: int = 200
    """Number of steps between checkpoints."""
    audit: bool = field(default=False, metadata=ADDED_LATER)
    """Whether to draw the share of each label in the gradient of each target in TensorBoard, as the
    scalars training/gradient_share_TARGET/LABEL. It does not affect training."""
    audit_every: int = field(default=50, metadata=ADDED_LATER)
    """Number of steps from one such audit to the next."""
    scale: ScaleConfig = field(default_factory=ScaleConfig)
    """How a batch is divided over processes, and how memory is saved."""

    def __post_init__(self) -> None:
        require_numbers(self, "steps", "warmup", least=0)
        require_numbers(self, "checkpoint_every", "audit_every", least=1)
        require_numbers(self, "learning_rate", "clip_norm")
        require_number("final_share", self.final_share, UNIT)
        if self.audit:
            self._require_whole_batches()

    def _require_whole_batches(self) -> None:
        """Raise a ValueError if a batch is divided, or the model is compiled."""
        scale = self.scale
        refused = {
            f"--loop.scale.parallel {scale.parallel}": scale.parallel != "none",
            f"--loop.scale.accumulate {scale.accumulate}": scale.accumulate > 1,
            "--loop.scale.compile": scale.compile,
        }
        for given in (name for name, odd in refused.items() if odd):
            raise ValueError(
                f"--loop.audit was given with {given}: gradients are audited only where one "
                "process trains on whole batches, not compiled; leave one of the two out"
            )

    def audits(self, step: int) -> bool:
        """Return whether gradients are audited before the update of a step."""
        return self.audit and step % self.audit_every == 0

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that determine the trained weights, as plain data."""
        return {name: value for name, value in asdict(self).items() if name not in NO_EFFECT}


NO_EFFECT = ("scale", "audit", "audit_every")
"""Settings of the loop that do not determine the trained weights."""


class Progress(NamedTuple):
    """The metrics of a step.

    The loss is the mean over the targets of the batch; reading it waits for the device. The speed
    is the mean since this call of `train` began. A skipped target is one that no token of the batch
    teaches. Steps that are audited have shares of gradients, which are those before the update.
    """

    step: int
    loss: Tensor
    learning_rate: float
    tokens_per_second: float
    skipped: tuple[str, ...]
    gradient_shares: Shares | None = None


def train(
    model: LanguageModel,
    table: RouteTable,
    batches: Batches,
    config: LoopConfig,
    path: Path | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Optimizer:
    """Train a model in place, on its device, and return the optimizer.

    It trains in bfloat16 on a GPU, by autocast, and in its own type on a CPU. If the checkpoint at
    `path` exists, training resumes from it. Inside `lm.training.distributed.joined`, processes that
    all call this function train the model together.

    Raises:
        ValueError: if the checkpoint is damaged, or of other settings, model, table or data; if a
            batch does not fit the model, or cannot be divided; if the memory is exhausted.
    """
    identity = {"config": config.identity, "model": model.shape, "table": table.as_dict()}
    if config.scale.processes.size > 1:
        replicate(model)
    trained = shard(model) if config.scale.parallel == "fsdp" else model
    optimizer = make_optimizer(trained, config)
    resume = Resume(path, identity | {"data": batches.digest})
    first = resume.restore(trained, optimizer)
    with compile_and_checkpoint(trained, config.scale):
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
    """Train a model, whole or sharded, from step `first` on; yield the progress of each step."""
    started, tokens, table = time.perf_counter(), 0, table.to(model.device)
    for step in range(first, config.steps):
        batch, rate = batches(step), learning_rate(step, config)
        require_in_vocabulary(batch, model.vocab_size)
        pieces = local_pieces(batch, config.scale)
        with enough_memory():
            audited = batch.to(model.device) if config.audits(step) else None
            shares = None if audited is None else gradient_shares(model, table, audited)
            loss = accumulate_gradients(model, table, pieces, count_targets(batch))
            if config.scale.parallel == "ddp":
                all_reduce_gradients([p for g in optimizer.param_groups for p in g["params"]])
            skipped = step_optimizer(optimizer, rate, config.clip_norm)
        if config.scale.parallel != "none":
            loss = all_reduce(loss)
        tokens += batch.inputs.numel()
        speed = tokens / (time.perf_counter() - started)
        yield Progress(step, loss, rate, speed, skipped, shares)


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
    """Take one step with an optimizer of `make_optimizer`; return the metrics for `Progress`."""
    loss = accumulate_gradients(model, table, [batch], count_targets(batch))
    return loss, step_optimizer(optimizer, rate, clip_norm)


def accumulate_gradients(
    model: LanguageModel, table: RouteTable, pieces: Sequence[Batch], count: Tensor
) -> Tensor:
    """Add the gradients of the pieces of a batch to those present, and return the loss.

    The loss is the sum over the pieces, divided by the `count_targets` of the whole batch.
    """
    device = model.device
    count, total = count.to(device, non_blocking=True), torch.zeros((), device=device)
    for piece in pieces:
        here = piece.to(device)
        with routing(model, table, here.route):
            with precision(device):
                loss = model.total_loss(here.inputs, here.targets) / count
            loss.backward()  # type: ignore[no-untyped-call]
        total = total + loss.detach()
    return total


def step_optimizer(optimizer: Optimizer, rate: float, clip_norm: float) -> tuple[str, ...]:
    """Update the parameters, and return the targets that no token taught."""
    skipped = skip_unreached(optimizer)
    for group in optimizer.param_groups:
        clip_grad_norm_(group["params"], clip_norm)
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad()
    return skipped


def precision(device: torch.device) -> AbstractContextManager[Any]:
    """Return bfloat16 autocast for a GPU; nothing for a CPU, where it is slower than float32."""
    if device.type == "cpu":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def learning_rate(step: int, config: LoopConfig) -> float:
    """Return the learning rate of a step: linear warm-up, then cosine decay.

    >>> config = LoopConfig(steps=3, warmup=2, learning_rate=1.0, final_share=0.0)
    >>> [learning_rate(step, config) for step in range(3)]
    [0.5, 1.0, 1.0]
    """
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    share = (step - config.warmup) / max(1, config.steps - config.warmup)
    height = config.final_share + (1 - config.final_share) * (1 + cos(pi * share)) / 2
    return config.learning_rate * height


OUT_OF_MEMORY = ("not enough memory", "can't allocate memory", "cannot allocate memory")
"""What the messages of PyTorch contain if the memory of the CPU is exhausted."""


@contextmanager
def enough_memory() -> Iterator[None]:
    """Turn PyTorch's out-of-memory errors into a ValueError with advice.

    Raises:
        ValueError: if the memory is exhausted.
    """
    try:
        yield
    except RuntimeError as error:
        short = any(words in str(error).lower() for words in OUT_OF_MEMORY)
        if not short and not isinstance(error, torch.OutOfMemoryError):
            raise
        raise ValueError(
            "the memory does not hold a training step: lower batch_size, raise accumulate, "
            "checkpoint activations, or share the weights out between more processes by fsdp"
        ) from error
