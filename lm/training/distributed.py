"""Processes that train one model together, and how a batch is spread over processes and over time.

`torchrun` starts the processes; without it there is one. They communicate by gloo on CPUs and by
NCCL on GPUs. DDP shares out the batch; FSDP2 shares out weights and optimizer state as well. The
results are the same up to rounding.

The modules of PyTorch for FSDP take a second to import, and are imported where they are used.
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
from lm.models.layers import AddedModules
from lm.training.batches import Batch
from oversight.runs.settings import require_numbers

T = TypeVar("T")

PATIENCE = timedelta(days=2)
"""How long processes wait for one that works alone, such as the attacks of rank 0."""


class Processes(NamedTuple):
    """The rank of this process, and the number of processes."""

    rank: int
    size: int


def processes() -> Processes:
    """Return the rank and the number of processes: 0 and 1 outside of `joined`."""
    if not dist.is_initialized():
        return Processes(0, 1)
    return Processes(dist.get_rank(), dist.get_world_size())


@contextmanager
def joined() -> Iterator[Processes]:
    """Join the process group of `torchrun`, one GPU for each process if there are any.

    Without `torchrun` this does nothing.
    """
    if "LOCAL_RANK" not in os.environ:
        yield processes()
        return
    # the functions of this module keep the process group, and its threads, of the time of import
    import_module("torch.distributed.nn")
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=PATIENCE)
    try:
        yield processes()
        # gloo's threads free the tensors of a collective after it is done, which aborts a process
        # that has begun to exit; so the last collective has no tensors
        dist.barrier()
    finally:
        dist.destroy_process_group()


@torch.no_grad()
def replicate(model: nn.Module) -> None:
    """Broadcast the weights of a model from rank 0."""
    if dist.is_initialized():
        for parameter in model.parameters():
            dist.broadcast(parameter, 0)


def require_same(number: int, what: str) -> None:
    """Raise an error in all processes if a number is not the same in all of them.

    Raises:
        ValueError: if it is not.
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
    """Broadcast a picklable object from rank 0."""
    if not dist.is_initialized():
        return value
    objects = [value]
    dist.broadcast_object_list(objects)
    return objects[0]


def all_reduce(number: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes."""
    total = number.clone()
    if dist.is_initialized():
        dist.all_reduce(total)
    return total


def all_reduce_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Replace each gradient by its sum over all processes.

    A parameter without a gradient in this process gets the sum of the others, so that the optimizer
    skips the same parameters everywhere. One without a gradient in any process stays without.
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
    """Return a copy of a model of which this process holds a shard, on the device of the model.

    The model itself is moved to the CPU until `unshard`. Blocks are gathered one at a time while
    they are computed. Gradients are summed over processes.
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
        if isinstance(module, AddedModules):
            module.all_take_part = True  # processes reduce the gradients of the same parameters
        if isinstance(module, FSDPModule):
            # FSDP averages by default; losses are already divided by the targets of the whole batch
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
    return shards


@torch.no_grad()
def unshard(shards: LanguageModel, model: LanguageModel) -> None:
    """Gather the weights of shards into the whole model, in every process, on their device."""
    from torch.distributed.tensor import DTensor  # noqa: PLC0415

    for part, whole in zip(shards.parameters(), model.parameters(), strict=True):
        assert isinstance(part, DTensor)
        whole.copy_(part.full_tensor())
    model.to(shards.device)


def is_sharded(tensor: Tensor) -> bool:
    """Return whether a tensor is sharded over processes."""
    return hasattr(tensor, "full_tensor")


def gather(tensor: Tensor) -> Tensor | None:
    """Return a tensor whole, on the CPU of rank 0; None in other processes. All must call this."""
    if is_sharded(tensor):
        from torch.distributed.tensor import DTensor  # noqa: PLC0415

        assert isinstance(tensor, DTensor)
        tensor = tensor.full_tensor()
    return tensor.cpu() if processes().rank == 0 else None


def distribute_like(whole: Tensor, like: Tensor) -> Tensor:
    """Return a whole tensor, which every process has, sharded as another one if that is sharded."""
    if not is_sharded(like):
        return whole
    from torch.distributed.tensor import DTensor, distribute_tensor  # noqa: PLC0415

    assert isinstance(like, DTensor)
    mesh, where = like.device_mesh, like.placements
    return distribute_tensor(whole.to(like.device), mesh, where, src_data_rank=None)


Parallel = Literal["none", "ddp", "fsdp"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ScaleConfig:
    """How to train on several devices, and in less memory.

    Raises:
        ValueError: if a number is out of its range.
    """

    parallel: Parallel = "none"
    """What the processes of torchrun divide: ddp, the batch; fsdp, also weights and optimizer."""
    accumulate: int = 1
    """Number of pieces of a batch per process, whose gradients are accumulated."""
    checkpoint_activations: bool = False
    """Whether to store only the inputs of blocks and recompute the rest in the backward pass."""
    compile: bool = False
    """Whether to compile the blocks with `torch.compile`."""

    def __post_init__(self) -> None:
        require_numbers(self, "accumulate", least=1)

    @property
    def processes(self) -> Processes:
        """The rank and the number of processes that share the work: 0 and 1 if nothing is parallel.

        Raises:
            ValueError: if the work is to be shared, and this process joined no others.
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
        """Return the number of pieces of a batch, over all processes.

        Raises:
            ValueError: if the rows do not divide into them.
        """
        count = self.processes.size
        if rows % (count * self.accumulate):
            raise ValueError(
                f"a batch of {rows} rows does not divide into {count} processes times accumulate "
                f"{self.accumulate}: give a batch_size that {count * self.accumulate} divides"
            )
        return count * self.accumulate


def local_pieces(batch: Batch, scale: ScaleConfig) -> list[Batch]:
    """Return the pieces of a batch that this process computes, one after another.

    Raises:
        ValueError: if the rows do not divide into the pieces of all processes.

    >>> rows = torch.arange(4)[:, None]
    >>> pieces = local_pieces(Batch(rows, rows, rows), ScaleConfig(accumulate=2))
    >>> [piece.inputs.flatten().tolist() for piece in pieces]
    [[0, 1], [2, 3]]
    """
    rank, pieces = scale.processes.rank, scale.pieces(len(batch.inputs))
    cut = [part.chunk(pieces) for part in batch]
    ours = range(rank * scale.accumulate, (rank + 1) * scale.accumulate)
    return [Batch(*(part[number] for part in cut)) for number in ours]


@contextmanager
def compile_and_checkpoint(model: LanguageModel, scale: ScaleConfig) -> Iterator[None]:
    """Compile blocks and recompute their activations, as the settings say, within the context."""
    layers = model.layers() if scale.compile or scale.checkpoint_activations else []
    try:
        for layer in layers:
            layer.forward = _forward(layer.forward, scale)
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)  # restores the method of the class


def _forward(forward: Callable[..., Any], scale: ScaleConfig) -> Callable[..., Any]:
    if scale.compile:
        # no graph breaks within a block; embedding, routing and loss are outside and stay eager
        forward = torch.compile(forward)
    if scale.checkpoint_activations:
        forward = partial(checkpoint, forward, use_reentrant=False)
    return forward
