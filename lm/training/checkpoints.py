"""Checkpoints of training: one file, which rank 0 writes.

`Resume` saves and restores. Shards are gathered to be saved, so that any number of processes can
resume from the file, with a sharded or a whole model. Nothing in the file is executed when it is
read.
"""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer

from lm.models.language_model import LanguageModel
from lm.training.distributed import distribute_like, gather, is_sharded, processes, require_same
from oversight.runs.folder import as_read, replace_file

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


@dataclass(frozen=True)
class Resume:
    """Saves and restores training; all processes must call, and see the same files.

    Attributes:
        path: the file; None saves nothing.
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
        state = _gathered(model, optimizer)
        if processes().rank == 0:
            write({**state, "step": step, "identity": dict(self.identity)}, self.path)

    def restore(self, model: LanguageModel, optimizer: Optimizer) -> int:
        """Load what was saved, and return the step to continue from: 0 if nothing was saved.

        Raises:
            ValueError: if what was saved is damaged, or of another training.
        """
        if self.path is None:
            return 0
        path = self.path
        require_same(path.exists(), f"whether {path} exists")
        if not path.exists():
            return 0
        state = read(path)
        self._require_same(state, path)
        try:
            _load(model, optimizer, state)
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


def _gathered(model: LanguageModel, optimizer: Optimizer) -> dict[str, Any]:
    """Return the state of a model and its optimizer, whose shards are gathered on rank 0."""
    weights, state = model.state_dict(), optimizer.state_dict()
    if is_sharded(next(model.parameters())):
        weights = {name: gather(tensor) for name, tensor in weights.items()}
        state["state"] = {
            number: {kind: gather(tensor) for kind, tensor in entry.items()}
            for number, entry in state["state"].items()
        }
    return {"weights": weights, "optimizer": state}


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
