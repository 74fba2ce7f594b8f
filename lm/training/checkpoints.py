"""Where training goes on from: one file, or a folder of shards where the model is sharded.

Either kind is read by any number of processes, sharded or not; only the last one written is kept.

Checkpoints of training, in files that execute nothing when read.

Checkpoints of a sharded model: every process writes its shards, any number of them reads.

PyTorch's distributed checkpoint writes them as safetensors, in a folder for the step, and a note
beside names the newest whole one with the checksums of its files. The note is written last: a kill
leaves the old checkpoint or the new one. Nothing in the files is executed when read.
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
from lm.training.distributed import placed, processes, require_same, sharded
from oversight.runs.folder import as_read, read_json, replace_file, write_json

FORMAT = "language model training 1"


def write(state: dict[str, Any], path: Path) -> None:
    """Write tensors and plain numbers so that a kill leaves the old file or the new one."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    replace_file(path, buffer.getvalue())


def read(path: Path) -> dict[str, Any]:
    """Read what `write` wrote; nothing in the file is executed.

    Raises:
        ValueError: if the file is damaged or something else.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load does not check the sums
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"{damaged} is damaged")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # there is no end to what damaged bytes can raise
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise ValueError(
            f"{path} is not a whole checkpoint ({reason}): remove it to start training anew"
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise ValueError(f"{path} is no checkpoint of this training loop: remove it or rename it")
    return state


SHARDED_FORMAT, NOTE = "language model shards 1", "checkpoint.json"


def write_sharded(
    folder: Path, model: nn.Module, optimizer: Optimizer, told: Mapping[str, Any]
) -> None:
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
        write_json(
            folder / NOTE, {"format": SHARDED_FORMAT, **told, "moved": moved, "files": files}
        )
        for old in folder.glob("step-*"):
            if old != new:
                shutil.rmtree(old)
    dist.barrier()


def read_sharded(folder: Path) -> dict[str, Any]:
    """Return what was noted of the newest checkpoint, its files checked.

    Raises:
        ValueError: if a file is damaged or missing, or the note is of something else.
    """
    told = read_json(folder / NOTE)
    if told.get("format") != SHARDED_FORMAT:
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


@dataclass(frozen=True)
class Resume:
    """Saves training, and restores it; all processes call, and all see the same files.

    Attributes:
        path: of the file; None saves nothing.
        identity: what tells this training from all others, in plain data.
    """

    path: Path | None
    identity: Mapping[str, Any]

    def save(self, model: LanguageModel, optimizer: Optimizer, step: int) -> None:
        """Save a model that was trained for so many steps.

        Raises:
            ValueError: if a file cannot be written.
        """
        if self.path is None:
            return
        told = {"step": step, "identity": dict(self.identity)}
        if sharded(next(model.parameters())):
            write_sharded(shards_of(self.path), model, optimizer, told)
            self.path.unlink(missing_ok=True)
        elif processes().rank == 0:
            state = {"weights": model.state_dict(), "optimizer": optimizer.state_dict()}
            write(state | told, self.path)
            shutil.rmtree(shards_of(self.path), ignore_errors=True)

    def restore(self, model: LanguageModel, optimizer: Optimizer) -> int:
        """Return the step to go on from: the first if nothing was saved.

        Raises:
            ValueError: if what was saved is damaged, or of another training.
        """
        if self.path is None:
            return 0
        shards = shards_of(self.path)
        whole = not (shards / NOTE).exists()
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
        except Exception as error:  # there is no end to what a foreign file can hold
            raise ValueError(f"{path} does not fit this run: {error}") from error

    def _require_same(self, state: Mapping[str, Any], path: Path) -> None:
        theirs, ours = (
            as_read(state.get("identity", {})),
            as_read(self.identity),
        )  # tuples are lists
        changed = [name for name in ours if theirs.get(name) != ours[name]]
        if changed:
            raise ValueError(
                f"{path} belongs to another run, by its {' and '.join(changed)}: remove it to "
                "start training anew, or resume with the settings it was written with"
            )


def shards_of(path: Path) -> Path:
    """Return the folder of shards that takes the place of a file."""
    return path.with_name(f"{path.name}.shards")


def remove(path: Path) -> None:
    """Remove what was saved, of either kind."""
    path.unlink(missing_ok=True)
    shutil.rmtree(shards_of(path), ignore_errors=True)


@torch.no_grad()
def _load(model: LanguageModel, optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Load whole tensors into a model and its optimizer, which may be sharded."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if not any(map(sharded, parameters)):
        model.load_state_dict(state["weights"])
        optimizer.load_state_dict(state["optimizer"])
        return
    for name, parameter in model.named_parameters():
        parameter.copy_(placed(state["weights"][name], parameter))
    for number, entry in state["optimizer"]["state"].items():
        entry |= {
            kind: placed(whole, parameters[number])
            for kind, whole in entry.items()
            if kind != "step"
        }
    optimizer.load_state_dict(state["optimizer"])
