"""The stages of a run as files: one that is finished is read, and not done again."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lm.model import weights
from lm.model.gpt import GPT
from oversight.record import read_json, write_json


class Stages:
    """Does what a folder has no file of, and keeps it there, with the seconds that it took.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def record(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the record of a stage, as JSON gives it back; make it if there is none.

        Raises:
            ValueError: if it cannot be written, or there is one that is damaged.
        """
        path = self.folder / f"{name}.json"
        if not path.exists():
            started = time.perf_counter()
            made = make()
            write_json(path, {"seconds": time.perf_counter() - started, **made})
        return read_json(path)

    def model(self, name: str, make: Callable[[], GPT]) -> GPT:
        """Return the model of a stage, on the CPU as it was saved; make it if there is none.

        Raises:
            ValueError: if it cannot be written, or there is one that is damaged.
        """
        path = self.folder / f"{name}.safetensors"
        if not path.exists():
            weights.save(make(), path)
        return weights.load(path)


def device() -> torch.device:
    """Return where to work: a GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
