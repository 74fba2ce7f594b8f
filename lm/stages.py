"""The stages of a run as files: one that is finished is read, and not done again.

Notes tell what run a folder is of, and the checksum of each file before it has its name. So a file
that is damaged, or of another run, is never taken for a finished stage.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from lm.models import files
from lm.models.language_model import LanguageModel
from oversight.runs.folder import as_read, flat, read_json, write_json

NOTES = "stages.json"


class Stages:
    """Does what a folder has no file of, and keeps it there, with the seconds that it took.

    Args:
        folder: of the run.
        identity: all that its files depend on, as plain data.

    Raises:
        ValueError: if the folder holds a run of another identity, or its notes are damaged.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder, self.notes = folder, folder / NOTES
        if not self.notes.exists():
            write_json(self.notes, {"identity": identity, "seconds": {}, "sha256": {}})
        _require_same(folder, read_json(self.notes).get("identity", {}), as_read(identity))

    def finished(self, name: str) -> bool:
        """Return whether the model of a stage is there."""
        return (self.folder / f"{name}.safetensors").exists()

    def record(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the record of a stage, as JSON gives it back; make it if there is none.

        Raises:
            ValueError: if it cannot be written, or there is one that is damaged or another run's.
        """
        path = self.folder / f"{name}.json"
        if not path.exists():
            with self._noted(path) as draft:
                write_json(draft, make())
        _require_owned(path)
        return read_json(path)

    def model(self, name: str, make: Callable[[], LanguageModel]) -> LanguageModel:
        """Return the model of a stage, on the CPU as it was saved; make it if there is none.

        Raises:
            ValueError: if it cannot be written, or there is one that is damaged or another run's.
        """
        path = self.folder / f"{name}.safetensors"
        if not path.exists():
            with self._noted(path) as draft:
                files.save(make(), draft)
        _require_owned(path)
        return files.load(path)

    @property
    def seconds(self) -> dict[str, float]:
        """The seconds that each finished stage took, in the process that finished it."""
        return dict(read_json(self.notes)["seconds"])

    @contextmanager
    def _noted(self, path: Path) -> Iterator[Path]:
        """Yield where to write a file, which gets its name when the notes know of it."""
        started = time.perf_counter()
        draft = path.with_name(f".{path.name}")
        yield draft
        notes = read_json(self.notes)
        notes["seconds"][path.stem] = time.perf_counter() - started
        notes["sha256"][path.name] = _checksum(draft)
        write_json(self.notes, notes)
        draft.replace(path)


def owned(path: Path) -> bool:
    """Return whether a stage's file is there, and is what the run of its folder wrote."""
    notes = path.with_name(NOTES)
    if not path.exists() or not notes.exists():
        return False
    noted: Mapping[str, str] = read_json(notes).get("sha256", {})
    return noted.get(path.name) == _checksum(path)


def device() -> torch.device:
    """Return where to work: a GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _require_owned(path: Path) -> None:
    if not owned(path):
        raise ValueError(
            f"{path} is not what this run wrote: remove it, and the run makes it again"
        )


def _require_same(folder: Path, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    stored, given = dict(flat(theirs)), dict(flat(ours))
    for name in {**given, **stored}:
        if stored.get(name) != given.get(name):
            raise ValueError(
                f"{folder} holds another run: its {name} is {stored.get(name)!r}, not "
                f"{given.get(name)!r}: remove that folder, or choose another"
            )
