"""Checkpoints of a sharded model: every process writes its shards, any number of them reads.

PyTorch's distributed checkpoint writes them as safetensors, in a folder for the step, and a note
beside names the newest whole one with the checksums of its files. The note is written last: a kill
leaves the old checkpoint or the new one. Nothing in the files is executed when read.
"""

import hashlib
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from lm.training.processes import processes
from oversight.record import read_json, write_json

FORMAT, NOTE = "language model shards 1", "checkpoint.json"


def write(folder: Path, model: nn.Module, optimizer: Optimizer, told: Mapping[str, Any]) -> None:
    """Write a checkpoint; all processes call.

    Args:
        folder: of this training's checkpoints, within reach of all processes.
        model: sharded.
        optimizer: of its parameters.
        told: what to note beside, in plain data, the `step` among it.
    """
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter  # noqa: PLC0415
    from torch.distributed.checkpoint.state_dict_saver import save  # noqa: PLC0415

    rank, count = processes()
    new = folder / f"step-{told['step']}"
    if rank == 0:
        shutil.rmtree(new, ignore_errors=True)  # what a kill has left half written
        new.mkdir(parents=True)
    dist.barrier()
    tensors, moved = _tensors(model, optimizer)
    writer = HuggingFaceStorageWriter(str(new), save_distributed=True)
    save(tensors, storage_writer=writer)
    sums: list[dict[str, str]] = [{} for _ in range(count)]
    dist.all_gather_object(sums, _checksums(sorted(new.iterdir())[rank::count]))
    if rank == 0:
        files = {name: checksum for each in sums for name, checksum in each.items()}
        write_json(folder / NOTE, {"format": FORMAT, **told, "moved": moved, "files": files})
        for old in folder.glob("step-*"):
            if old != new:
                shutil.rmtree(old)
    dist.barrier()


def read(folder: Path) -> dict[str, Any]:
    """Return what was noted of the newest checkpoint, its files checked.

    Raises:
        ValueError: if a file is damaged or missing, or the note is of something else.
    """
    told = read_json(folder / NOTE)
    if told.get("format") != FORMAT:
        raise ValueError(f"{folder} holds no checkpoint of this training loop: remove it")
    step = folder / f"step-{told['step']}"
    if _checksums(sorted(step.glob("*"))) != told["files"]:
        raise ValueError(f"{step} is not a whole checkpoint: remove {folder} to start anew")
    return told


def load(folder: Path, model: nn.Module, optimizer: Optimizer, told: Mapping[str, Any]) -> None:
    """Load the newest checkpoint into a model, sharded or whole; all processes call.

    Args:
        folder: of this training's checkpoints.
        model: of the same weights, shared out in any way.
        optimizer: of its parameters.
        told: from `read`.

    Raises:
        ValueError: if it holds other weights.
    """
    from torch.distributed.checkpoint import state_dict_loader  # noqa: PLC0415
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader  # noqa: PLC0415

    moved: Mapping[str, float] = told["moved"]
    for name, parameter in model.named_parameters():
        if name in moved:
            step = torch.tensor(moved[name], dtype=torch.float32, device=parameter.device)
            first, second = torch.zeros_like(parameter), torch.zeros_like(parameter)
            optimizer.state[parameter] = {"step": step, "exp_avg": first, "exp_avg_sq": second}
    tensors, _ = _tensors(model, optimizer)
    reader = HuggingFaceStorageReader(str(folder / f"step-{told['step']}"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # as it may be
        alone = not dist.is_initialized()
        state_dict_loader.load(tensors, storage_reader=reader, no_dist=alone)


def _tensors(model: nn.Module, optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Return weights and averages by name, and how many steps moved each parameter that moved."""
    tensors: dict[str, Tensor] = {}
    moved: dict[str, float] = {}
    for name, parameter in model.named_parameters():
        tensors[name] = parameter.detach()
        for kind, value in optimizer.state.get(parameter, {}).items():
            if kind == "step":
                moved[name] = float(value)
            else:
                tensors[f"{kind}.{name}"] = value
    return tensors, moved


def _checksums(files: list[Path]) -> dict[str, str]:
    found = {}
    for path in files:
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
