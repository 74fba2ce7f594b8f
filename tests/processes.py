"""Work in several processes that join each other by PyTorch's gloo."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import start_processes

# One process imports PyTorch and what is trained, and all others are forks of it.
PRELOADED = [
    "torch.distributed.tensor",
    "transformers.models.llama.modeling_llama",
    "tests.lm.training.processes",
]


def in_processes(work: Callable[..., object], folder: Path, *arguments: object) -> Any:  # noqa: ANN401
    """Call `work(folder, *arguments)` in two processes, and return what the first returned."""
    multiprocessing.set_forkserver_preload(PRELOADED)
    start_processes(  # type: ignore[no-untyped-call]
        _process, (work, folder, *arguments), nprocs=2, start_method="forkserver"
    )
    return torch.load(folder / "result.pt", weights_only=False)


def _process(rank: int, work: Callable[..., object], folder: Path, *arguments: object) -> None:
    torch.set_num_threads(1)
    store = f"file://{folder}/store"  # no port to collide with another test run
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    try:
        result = work(folder, *arguments)
        if rank == 0:
            torch.save(result, folder / "result.pt")
    finally:
        dist.destroy_process_group()
