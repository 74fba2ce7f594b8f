"""The training loop: mixed batches, a route for each token, an optimizer group for each target.

- a target that no token teaches does not move, nor does its optimizer state;
- gradients are clipped target by target, so that one does not shrink the step of another;
- the state is a function of settings and step: a resumed run gives the same bits.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from math import cos, pi
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW, Optimizer

from lm.model.language_model import LanguageModel
from lm.training import checkpoint
from lm.training.batches import Batch, Batches
from oversight.routing import RouteTable, parameter_groups, routing, skip_unreached


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

    Args:
        model: it trains in bfloat16 on a GPU, by autocast, and in its own type on a CPU.
        table: the weight of each route at each target.
        batches: the batch of each step, its routes made for the table.
        config: how to train.
        path: where the checkpoint is; if it exists, training goes on from there.
        report: called after each step.

    Raises:
        ValueError: if the checkpoint is damaged, or of other settings, model, table or data.
    """
    device = model.device
    table = table.to(device)
    optimizer = make_optimizer(model, config)
    settings = {"config": asdict(config), "model": model.shape, "table": table.as_dict()}
    identity = {**settings, "data": batches.digest}
    first = _restore(model, optimizer, identity, path)
    started, tokens = time.perf_counter(), 0
    for step in range(first, config.steps):
        batch = Batch(*(part.to(device, non_blocking=True) for part in batches(step)))
        rate = learning_rate(step, config)
        loss, skipped = update(model, table, batch, optimizer, rate, config.clip_norm)
        tokens += batch.now.numel()
        speed = tokens / (time.perf_counter() - started)
        report(Progress(step, loss, rate, speed, skipped))
        done = step + 1
        if path is not None and (done % config.checkpoint_every == 0 or done == config.steps):
            _save(model, optimizer, done, identity, path)
    return optimizer


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
    with routing(model, table, batch.route):
        with precision(batch.now.device):
            loss = model.loss(batch.now, batch.following)
        loss.backward()  # type: ignore[no-untyped-call]
    skipped = skip_unreached(optimizer)
    for group in optimizer.param_groups:
        clip_grad_norm_(group["params"], clip_norm)
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach(), skipped


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


def _save(
    model: LanguageModel, optimizer: Optimizer, step: int, identity: dict[str, Any], path: Path
) -> None:
    state = {"weights": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
    checkpoint.write(state | {"identity": identity}, path)


def _restore(
    model: LanguageModel, optimizer: Optimizer, identity: dict[str, Any], path: Path | None
) -> int:
    """Return the step to go on from: the first if there is no checkpoint."""
    if path is None or not path.exists():
        return 0
    state = checkpoint.read(path)
    theirs = state.get("identity", {})
    changed = [name for name in identity if theirs.get(name) != identity[name]]
    if changed:
        raise ValueError(
            f"{path} belongs to another run, by its {' and '.join(changed)}: remove it to start "
            "training anew, or resume with the settings it was written with"
        )
    try:
        model.load_state_dict(state["weights"])
        optimizer.load_state_dict(state["optimizer"])
        return int(state["step"])
    except Exception as error:  # there is no end to what a foreign file can hold
        raise ValueError(f"{path} does not fit this run: {error}") from error
