"""The files of a run's finished stages, and the notes by which they are recognized.

Notes hold the settings of the run and the checksum of each file. They are written before the file
gets its name, so that a damaged file, or a file of another run, is never mistaken for a finished
stage.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lm.models import files
from lm.models.language_model import LanguageModel
from oversight.runs.folder import as_read, flat, read_json, write_json

RESULT, STAGES = "result.json", "stages.json"
"""The result of a run, and the notes of its stages."""


class Stages:
    """The files of finished stages in a folder, with the duration of each in seconds.

    Args:
        folder: folder of the run.
        identity: plain data that determines the content of all files.

    Raises:
        ValueError: if the folder holds a run with another identity, or its notes are damaged.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder, self.notes = folder, folder / STAGES
        if not self.notes.exists():
            write_json(self.notes, {"identity": identity, "seconds": {}, "sha256": {}})
        _require_same(folder, read_json(self.notes).get("identity", {}), as_read(identity))

    def finished(self, name: str) -> bool:
        """Return whether the model of a stage exists."""
        return (self.folder / f"{name}.safetensors").exists()

    def record(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the record of a stage as JSON restores it; make the record if it does not exist.

        Raises:
            ValueError: if the file cannot be written, is damaged or belongs to another run.
        """
        path = self.folder / f"{name}.json"
        if not path.exists():
            with self._noted(path) as draft:
                write_json(draft, make())
        return self.stored(name)

    def stored(self, name: str) -> dict[str, Any]:
        """Return the record of a finished stage.

        Raises:
            ValueError: if there is none, or it is damaged or belongs to another run.
        """
        path = self.folder / f"{name}.json"
        _require_owned(path)
        return read_json(path)

    def model(self, name: str, make: Callable[[], LanguageModel]) -> LanguageModel:
        """Return the saved model of a stage, on the CPU; make the model if it does not exist.

        Raises:
            ValueError: if the model has weights that are not finite, or the file cannot be written,
                is damaged or belongs to another run.
        """
        path = self.folder / f"{name}.safetensors"
        if not path.exists():
            with self._noted(path) as draft:
                files.save(_finite(make(), name), draft)
        return self.load(name)

    def load(self, name: str) -> LanguageModel:
        """Return the saved model of a finished stage, on the CPU.

        Raises:
            ValueError: if there is none, or it is damaged or belongs to another run.
        """
        path = self.folder / f"{name}.safetensors"
        _require_owned(path)
        return files.load(path)

    def equal(self, first: str, second: str) -> bool:
        """Return whether the models of two finished stages have equal weights."""
        noted: Mapping[str, str] = read_json(self.notes)["sha256"]
        one, other = (noted.get(f"{name}.safetensors") for name in (first, second))
        return one is not None and one == other

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write the result of the run, and note that it is of this run."""
        path = self.folder / RESULT
        path.unlink(missing_ok=True)  # it may lack attacks, and the notes are of the new one
        draft = path.with_name(f".{path.name}")
        write_json(draft, result)
        notes = read_json(self.notes)
        notes["sha256"][path.name] = _checksum(draft)
        write_json(self.notes, notes)
        draft.replace(path)

    @property
    def seconds(self) -> dict[str, float]:
        """The seconds that each finished stage took, in the process that finished it."""
        return dict(read_json(self.notes)["seconds"])

    @contextmanager
    def _noted(self, path: Path) -> Iterator[Path]:
        """Yield a draft, which is renamed to `path` when the notes hold its checksum."""
        started = time.perf_counter()
        draft = path.with_name(f".{path.name}")
        try:
            yield draft
            notes = read_json(self.notes)
            notes["seconds"][path.stem] = time.perf_counter() - started
            notes["sha256"][path.name] = _checksum(draft)
            write_json(self.notes, notes)
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


def require_result_of(folder: Path, identity: Mapping[str, Any]) -> None:
    """Raise a ValueError if the result in a folder is not of the run with an identity."""
    if not owned(folder / RESULT):
        raise ValueError(
            f"{folder / RESULT} is not what the run of this folder wrote: remove it, and the run "
            "makes it again"
        )
    _require_same(folder, read_json(folder / STAGES).get("identity", {}), as_read(identity))


def owned(path: Path) -> bool:
    """Return whether the file of a stage exists and was written by the run of its folder."""
    notes = path.with_name(STAGES)
    if not path.exists() or not notes.exists():
        return False
    noted: Mapping[str, str] = read_json(notes).get("sha256", {})
    return noted.get(path.name) == _checksum(path)


def _finite(model: LanguageModel, stage: str) -> LanguageModel:
    """Return a model, and raise a ValueError if it has weights that are not finite."""
    if all(parameter.isfinite().all() for parameter in model.parameters()):
        return model
    raise ValueError(
        f"the weights of the model {stage} are not finite, as its training diverged: lower the "
        "learning rate of that stage"
    )


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
