"""The processes that train one model together: who there are, and what they add up.

`torchrun` starts them; without it there is one. They talk by gloo on CPUs, and by NCCL on GPUs.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from typing import NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

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


def add_up(number: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes."""
    total = number.clone()
    if dist.is_initialized():
        dist.all_reduce(total)
    return total


def add_up_gradients(parameters: Sequence[nn.Parameter]) -> None:
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
