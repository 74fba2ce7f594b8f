"""The processes that train one model together: who there are, and what they add up.

`torchrun` starts them; without it there is one. They talk by gloo on CPUs, and by NCCL on GPUs.

A model of which each process holds a shard, by FSDP2.

What it needs of PyTorch takes a second to import, so whoever trains without it does not.

How a batch is spread over processes, and over time; the results are the same to rounding.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from importlib import import_module
from typing import Any, Literal, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lm.models.language_model import LanguageModel
from lm.training.batches import Batch

T = TypeVar("T")

PATIENCE = timedelta(days=2)
"""How long processes wait for one that does something alone."""


class Processes(NamedTuple):
    """The number of this process, from 0 on, and of how many."""

    rank: int
    size: int


def processes() -> Processes:
    """Return who there are: this one alone, outside `joined`."""
    if not dist.is_initialized():
        return Processes(0, 1)
    return Processes(dist.get_rank(), dist.get_world_size())


@contextmanager
def joined() -> Iterator[Processes]:
    """Join the processes that `torchrun` started with this one, each with a GPU if there are any.

    Without `torchrun` it does nothing.
    """
    if "LOCAL_RANK" not in os.environ:
        yield processes()
        return
    # its functions keep the group that there is when it is imported, and so the group's threads
    import_module("torch.distributed.nn")
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=PATIENCE)
    try:
        yield processes()
        # gloo's threads drop the tensors of a collective after it is done; in a process that has
        # begun to end this aborts it, so the last collective has none
        dist.barrier()
    finally:
        dist.destroy_process_group()


@torch.no_grad()
def replicate(model: nn.Module) -> None:
    """Give a model the weights that it has in the first process."""
    if dist.is_initialized():
        for parameter in model.parameters():
            dist.broadcast(parameter, 0)


def require_same(number: int, what: str) -> None:
    """Refuse to go on if a number is not the same in all processes.

    Raises:
        ValueError: in all processes, if it is not.
    """
    if not dist.is_initialized():
        return
    numbers: list[int] = [0] * processes().size
    dist.all_gather_object(numbers, number)
    if len(set(numbers)) > 1:
        raise ValueError(
            f"processes do not agree on {what}: start them with the same settings, on a folder "
            "that all of them can reach"
        )


def broadcast(value: T) -> T:
    """Return what the first process was given, in all of them, in plain objects."""
    if not dist.is_initialized():
        return value
    said = [value]
    dist.broadcast_object_list(said)
    return said[0]


def all_reduce(number: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes."""
    total = number.clone()
    if dist.is_initialized():
        dist.all_reduce(total)
    return total


def all_reduce_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Give each parameter the sum of its gradients in all processes.

    One that has no gradient here but has one elsewhere takes it over, so that all processes go on
    alike; one that has none anywhere is left without.
    """
    if not dist.is_initialized():
        return
    has = torch.tensor([p.grad is not None for p in parameters], dtype=torch.uint8)
    has = has.to(parameters[0].device)
    dist.all_reduce(has, dist.ReduceOp.MAX)
    sums = []
    for parameter, somewhere in zip(parameters, has.tolist(), strict=True):
        if somewhere:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            sums.append(dist.all_reduce(parameter.grad, async_op=True))
    for each in sums:
        each.wait()


def shard(model: LanguageModel) -> LanguageModel:
    """Return a copy of a model of which this process holds a shard, on the model's device.

    The model itself is moved to the CPU, where it waits for `unshard`. Blocks are gathered one at
    a time while they are computed. Gradients add up over processes.
    """
    from torch.distributed.device_mesh import init_device_mesh  # noqa: PLC0415
    from torch.distributed.fsdp import (  # noqa: PLC0415
        FSDPModule,
        fully_shard,
        register_fsdp_forward_method,
    )

    mesh = init_device_mesh(model.device.type, (processes().size,))
    shards = model.to("cpu").copied()
    for module in (*shards.layers(), shards):
        fully_shard(module, mesh=mesh)
    register_fsdp_forward_method(shards, "total_loss")  # what the training loop calls
    for module in shards.modules():
        if isinstance(module, FSDPModule):
            # the default is their mean, but losses are divided by the tokens of the whole batch
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
    return shards


@torch.no_grad()
def unshard(shards: LanguageModel, model: LanguageModel) -> None:
    """Give a model the weights of its shards, in every process, on the device of the shards."""
    from torch.distributed.tensor import DTensor  # noqa: PLC0415

    for part, whole in zip(shards.parameters(), model.parameters(), strict=True):
        assert isinstance(part, DTensor)
        whole.copy_(part.full_tensor())
    model.to(shards.device)


def sharded(tensor: Tensor) -> bool:
    """Return whether a tensor is shared out over processes."""
    return hasattr(tensor, "full_tensor")


def placed(whole: Tensor, like: Tensor) -> Tensor:
    """Return a whole tensor that every process has, shared out as another one is, if that is."""
    if not sharded(like):
        return whole
    from torch.distributed.tensor import DTensor, distribute_tensor  # noqa: PLC0415

    assert isinstance(like, DTensor)
    mesh, where = like.device_mesh, like.placements
    return distribute_tensor(whole.to(like.device), mesh, where, src_data_rank=None)


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
    >>> [piece.inputs.flatten().tolist() for piece in pieces]
    [[0, 1], [2, 3]]
    """
    rank, pieces = scale.processes.rank, scale.pieces(len(batch.inputs))
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
