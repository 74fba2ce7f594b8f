"""How a batch is spread over processes, and over time; the results are the same to rounding."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch.utils.checkpoint import checkpoint

from lm.model.language_model import LanguageModel
from lm.training.batches import Batch
from lm.training.processes import Processes, processes

Parallel = Literal["none", "ddp", "fsdp"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ScaleConfig:
    """How to train on more than one device, and in less memory.

    Raises:
        ValueError: if a number is out of its range.
    """

    parallel: Parallel = "none"
    """what the processes of torchrun share: ddp, the batch; fsdp, weights and optimizer, too"""
    accumulate: int = 1
    """pieces of a process's share of a batch, computed one after another"""
    checkpoint_activations: bool = False
    """whether to keep only what blocks read, and compute the rest again in the backward pass"""
    compile: bool = False
    """whether to compile blocks"""

    def __post_init__(self) -> None:
        if self.accumulate < 1:
            raise ValueError(f"accumulate {self.accumulate} was given: give 1 or more")

    @property
    def processes(self) -> Processes:
        """Those that share the work: this one alone if nothing is parallel.

        Raises:
            ValueError: if this one is to share its work and did not join others.
        """
        if self.parallel == "none":
            return Processes(0, 1)
        if not torch.distributed.is_initialized():
            raise ValueError(
                f"parallel {self.parallel} shares the work of processes, and this one is alone: "
                "start it by `torchrun --nproc-per-node 8 -m lm.unlearn`, or give parallel none"
            )
        return processes()

    def pieces(self, rows: int) -> int:
        """Return how many pieces a batch is computed in, by all processes together.

        Raises:
            ValueError: if so many rows do not divide by them.
        """
        count = self.processes.size
        if rows % (count * self.accumulate):
            raise ValueError(
                f"a batch of {rows} rows does not divide into {count} processes times accumulate "
                f"{self.accumulate}: give a batch_size that {count * self.accumulate} divides"
            )
        return count * self.accumulate


def shares(batch: Batch, scale: ScaleConfig) -> list[Batch]:
    """Return the pieces of a batch that are this process's, to compute one after another.

    Raises:
        ValueError: if the rows do not divide by those of all.

    >>> rows = torch.arange(4)[:, None]
    >>> pieces = shares(Batch(rows, rows, rows), ScaleConfig(accumulate=2))
    >>> [piece.now.flatten().tolist() for piece in pieces]
    [[0, 1], [2, 3]]
    """
    rank, pieces = scale.processes.rank, scale.pieces(len(batch.now))
    cut = [part.chunk(pieces) for part in batch]
    ours = range(rank * scale.accumulate, (rank + 1) * scale.accumulate)
    return [Batch(*(part[number] for part in cut)) for number in ours]


@contextmanager
def prepared(model: LanguageModel, scale: ScaleConfig) -> Iterator[None]:
    """Compile blocks and save their activations as the settings say, for the time of training."""
    layers = model.layers() if scale.compile or scale.checkpoint_activations else []
    try:
        for layer in layers:
            layer.forward = _forward(layer.forward, scale)
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)  # the method of its class is in force again


def _forward(forward: Callable[..., Any], scale: ScaleConfig) -> Callable[..., Any]:
    if scale.compile:
        # within a block no graph breaks; embedding, routing and loss are outside, and stay eager
        forward = torch.compile(forward)
    if scale.checkpoint_activations:
        forward = partial(checkpoint, forward, use_reentrant=False)
    return forward
