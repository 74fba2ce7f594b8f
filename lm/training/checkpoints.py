"""Checkpoints of training: one file, or a folder of shards if the model is sharded.

`Resume` saves and restores. Either kind is restored by any number of processes, into a sharded or a
whole model, and only the last one written is kept. Nothing in the files is executed when read.

PyTorch's distributed checkpoint writes the shards as safetensors into a folder for the step. A
metadata file next to it names the newest complete folder and the checksums of its files. It is
written last, so that an interrupted write leaves the old checkpoint or the new one.
"""

import hashlib
import io
import shutil
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from lm.models.language_model import LanguageModel
from lm.training.distributed import distribute_like, is_sharded, processes, require_same
from oversight.runs.folder import as_read, read_json, replace_file, write_json

FORMAT = "language model training 1"


def write(state: dict[str, Any], path: Path) -> None:
    """Write tensors and plain numbers; an interrupted write leaves the old file or the new one."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    replace_file(path, buffer.getvalue())


def read(path: Path) -> dict[str, Any]:
    """Read the file that `write` wrote.

    Raises:
        ValueError: if the file is damaged or something else.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load does not verify the checksums
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"{damaged} is damaged")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes raise errors of many kinds
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise ValueError(
            f"{path} is not a whole checkpoint ({reason}): remove it to start training anew"
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise ValueError(f"{path} is no checkpoint of this training loop: remove it or rename it")
    return state


SHARDED_FORMAT, METADATA_FILE = "language model shards 1", "checkpoint.json"


def write_sharded(
    folder: Path, model: nn.Module, optimizer: Optimizer, metadata: Mapping[str, Any]
) -> None:
    """Write a checkpoint of a sharded model; all processes must call.

    The folder is on a disk that all processes share. The metadata is plain data, with the `step`.
    """
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter  # noqa: PLC0415
    from torch.distributed.checkpoint.state_dict_saver import save  # noqa: PLC0415

    rank, count = processes()
    new = folder / f"step-{metadata['step']}"
    if rank == 0:
        shutil.rmtree(new, ignore_errors=True)  # left by an interrupted write
        new.mkdir(parents=True)
    dist.barrier()
    tensors, num_updates = _tensors(model, optimizer)
    writer = HuggingFaceStorageWriter(str(new), save_distributed=True)
    save(tensors, storage_writer=writer)
    sums: list[dict[str, str]] = [{} for _ in range(count)]
    dist.all_gather_object(sums, _checksums(sorted(new.iterdir())[rank::count]))
    if rank == 0:
        files = {name: checksum for each in sums for name, checksum in each.items()}
        write_json(
            folder / METADATA_FILE,
            {"format": SHARDED_FORMAT, **metadata, "num_updates": num_updates, "files": files},
        )
        for old in folder.glob("step-*"):
            if old != new:
                shutil.rmtree(old)
    dist.barrier()


def read_sharded(folder: Path) -> dict[str, Any]:
    """Return the metadata of the newest checkpoint, whose files are verified.

    Raises:
        ValueError: if a file is damaged or missing, or the folder holds something else.
    """
    metadata = read_json(folder / METADATA_FILE)
    if metadata.get("format") != SHARDED_FORMAT:
        raise ValueError(f"{folder} holds no checkpoint of this training loop: remove it")
    step = folder / f"step-{metadata['step']}"
    if _checksums(sorted(step.glob("*"))) != metadata["files"]:
        raise ValueError(f"{step} is not a whole checkpoint: remove {folder} to start anew")
    return metadata


def load(folder: Path, model: nn.Module, optimizer: Optimizer, metadata: Mapping[str, Any]) -> None:
    """Load the newest checkpoint into a model, sharded or whole; all processes must call.

    The metadata is that of `read_sharded`.

    Raises:
        ValueError: if it holds other weights.
    """
    from torch.distributed.checkpoint import state_dict_loader  # noqa: PLC0415
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader  # noqa: PLC0415

    num_updates: Mapping[str, float] = metadata["num_updates"]
    for name, parameter in model.named_parameters():
        if name in num_updates:
            step = torch.tensor(num_updates[name], dtype=torch.float32, device=parameter.device)
            first, second = torch.zeros_like(parameter), torch.zeros_like(parameter)
            optimizer.state[parameter] = {"step": step, "exp_avg": first, "exp_avg_sq": second}
    tensors, _ = _tensors(model, optimizer)
    reader = HuggingFaceStorageReader(str(folder / f"step-{metadata['step']}"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # as intended
        alone = not dist.is_initialized()
        state_dict_loader.load(tensors, storage_reader=reader, no_dist=alone)


def _tensors(model: nn.Module, optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Return weights and AdamW's averages by name, and the number of updates by parameter."""
    tensors: dict[str, Tensor] = {}
    num_updates: dict[str, float] = {}
    for name, parameter in model.named_parameters():
        tensors[name] = parameter.detach()
        for kind, value in optimizer.state.get(parameter, {}).items():
            if kind == "step":
                num_updates[name] = float(value)
            else:
                tensors[f"{kind}.{name}"] = value
    return tensors, num_updates


def _checksums(files: list[Path]) -> dict[str, str]:
    found = {}
    for path in files:
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


@dataclass(frozen=True)
class Resume:
    """Saves and restores training; all processes must call, and see the same files.

    Attributes:
        path: of the file; None saves nothing.
        identity: plain data that identifies this training.
    """

    path: Path | None
    identity: Mapping[str, Any]

    def save(self, model: LanguageModel, optimizer: Optimizer, step: int) -> None:
        """Save a model that was trained for `step` steps.

        Raises:
            ValueError: if a file cannot be written.
        """
        if self.path is None:
            return
        metadata = {"step": step, "identity": dict(self.identity)}
        if is_sharded(next(model.parameters())):
            write_sharded(shards_of(self.path), model, optimizer, metadata)
            self.path.unlink(missing_ok=True)
        elif processes().rank == 0:
            state = {"weights": model.state_dict(), "optimizer": optimizer.state_dict()}
            write(state | metadata, self.path)
            shutil.rmtree(shards_of(self.path), ignore_errors=True)

    def restore(self, model: LanguageModel, optimizer: Optimizer) -> int:
        """Load what was saved, and return the step to continue from: 0 if nothing was saved.

        Raises:
            ValueError: if what was saved is damaged, or of another training.
        """
        if self.path is None:
            return 0
        shards = shards_of(self.path)
        whole = not (shards / METADATA_FILE).exists()
        path = self.path if whole else shards
        require_same(path.exists(), f"whether {path} exists")
        if not path.exists():
            return 0
        state = read(path) if whole else read_sharded(path)
        self._require_same(state, path)
        try:
            if whole:
                _load(model, optimizer, state)
            else:
                load(path, model, optimizer, state)
            return int(state["step"])
        except Exception as error:  # a foreign file can hold anything
            raise ValueError(f"{path} does not fit this run: {error}") from error

    def _require_same(self, state: Mapping[str, Any], path: Path) -> None:
        theirs = as_read(state.get("identity", {}))
        ours = as_read(self.identity)  # makes lists of tuples
        changed = [name for name in ours if theirs.get(name) != ours[name]]
        if changed:
            raise ValueError(
                f"{path} belongs to another run, by its {' and '.join(changed)}: remove it to "
                "start training anew, or resume with the settings it was written with"
            )


def shards_of(path: Path) -> Path:
    """Return the folder of shards that is written in place of a file."""
    return path.with_name(f"{path.name}.shards")


def remove(path: Path) -> None:
    """Remove a checkpoint of either kind."""
    path.unlink(missing_ok=True)
    shutil.rmtree(shards_of(path), ignore_errors=True)


@torch.no_grad()
def _load(model: LanguageModel, optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Load whole tensors into a model and its optimizer, which may be sharded."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if not any(map(is_sharded, parameters)):
        model.load_state_dict(state["weights"])
        optimizer.load_state_dict(state["optimizer"])
        return
    for name, parameter in model.named_parameters():
        parameter.copy_(distribute_like(state["weights"][name], parameter))
    for number, entry in state["optimizer"]["state"].items():
        entry |= {
            kind: distribute_like(whole, parameters[number])
            for kind, whole in entry.items()
            if kind != "step"
        }
    optimizer.load_state_dict(state["optimizer"])
