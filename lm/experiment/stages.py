"""The stages of a run as files: one that is finished is read, and not done again."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from lm.model import weights
from lm.model.gpt import GPT
from oversight.record import read_json, write_json

SECONDS = "seconds.json"


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
            with self._timed(name):
                write_json(path, make())
        return read_json(path)

    def model(self, name: str, make: Callable[[], GPT]) -> GPT:
        """Return the model of a stage, on the CPU as it was saved; make it if there is none.

        Raises:
            ValueError: if it cannot be written, or there is one that is damaged.
        """
        path = self.folder / f"{name}.safetensors"
        if not path.exists():
            with self._timed(name):
                weights.save(make(), path)
        return weights.load(path)

    @property
    def seconds(self) -> dict[str, float]:
        """The seconds that each finished stage took, in the process that finished it."""
        path = self.folder / SECONDS
        return read_json(path) if path.exists() else {}

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        write_json(self.folder / SECONDS, {**self.seconds, name: time.perf_counter() - started})


def device() -> torch.device:
    """Return where to work: a GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
