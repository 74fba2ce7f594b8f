"""Where training goes on from: one file, or a folder of shards where the model is sharded.

Either kind is read by any number of processes, sharded or not; only the last one written is kept.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer

from lm.model.language_model import LanguageModel
from lm.training import checkpoint, sharded_checkpoint
from lm.training.processes import processes, require_same
from lm.training.sharding import placed, sharded
from oversight.record import as_read


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
            sharded_checkpoint.write(shards_of(self.path), model, optimizer, told)
            self.path.unlink(missing_ok=True)
        elif processes().rank == 0:
            state = {"weights": model.state_dict(), "optimizer": optimizer.state_dict()}
            checkpoint.write(state | told, self.path)
            shutil.rmtree(shards_of(self.path), ignore_errors=True)

    def restore(self, model: LanguageModel, optimizer: Optimizer) -> int:
        """Return the step to go on from: the first if nothing was saved.

        Raises:
            ValueError: if what was saved is damaged, or of another training.
        """
        if self.path is None:
            return 0
        shards = shards_of(self.path)
        whole = not (shards / sharded_checkpoint.NOTE).exists()
        path = self.path if whole else shards
        require_same(path.exists(), f"whether {path} exists")
        if not path.exists():
            return 0
        state = checkpoint.read(path) if whole else sharded_checkpoint.read(path)
        self._require_same(state, path)
        try:
            if whole:
                _load(model, optimizer, state)
            else:
                sharded_checkpoint.load(path, model, optimizer, state)
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
