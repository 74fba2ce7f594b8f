"""One run of a sweep: what state its folder is in, and how it is brought to its end."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from oversight.config import TrainConfig
from oversight.record import flat, read_json
from oversight.run import RunFolder, read_config
from oversight.selection import RULES
from oversight.study import Run
from oversight.training import train

State = Literal["new", "begun", "finished"]

SUMMARY = ("observed_episodes", "held_out_episodes", "env_steps", "wall_seconds", "commit")
"""What the summary of a finished run has, beside its selection."""


@dataclass(frozen=True, slots=True)
class Job:
    """A run and where it goes.

    Attributes:
        run: the run.
        folder: its own folder.
    """

    run: Run
    folder: Path

    @property
    def id(self) -> str:
        """The id of the run."""
        return self.run.id


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended.

    Attributes:
        id: of the job.
        error: one line, or None if none occurred.
        interrupted: whether it was asked to stop, and can go on.
    """

    id: str
    error: str | None = None
    interrupted: bool = False


def state(job: Job) -> State:
    """Return how far a run is.

    Raises:
        ValueError: if its folder holds a run of other settings.
    """
    folder = RunFolder(job.folder)
    if not folder.config.exists():
        return "new"
    stored = read_config(folder, TrainConfig)
    if stored != job.run.config:
        what = next(iter(differences(stored, job.run.config)))
        raise ValueError(
            f"{job.folder} holds another run {job.run.id}: {what}; name another --folder, or "
            "remove that run"
        )
    return "begun" if summary(folder) is None else "finished"


def summary(folder: RunFolder) -> dict[str, Any] | None:
    """Return the results of a finished run, or None if there is no whole summary of one."""
    try:
        read = read_json(folder.summary)
    except ValueError:
        return None
    chosen = read.get("selection")
    whole = {*SUMMARY} <= {*read} and isinstance(chosen, dict) and {*RULES} <= {*chosen}
    return read if whole and read.get("interrupted") is False else None


def differences(stored: TrainConfig, declared: TrainConfig) -> Iterator[str]:
    """Yield the settings that differ, in words."""
    settings = zip(flat(asdict(stored)), flat(asdict(declared)), strict=True)
    for (name, one), (_, other) in settings:
        if one != other:
            yield f"{name} is {one!r} there and {other!r} here"


def work(job: Job) -> Outcome:
    """Bring a run to its end, in whatever state it is, and tell how it went."""
    try:
        with locked(job.folder):
            if state(job) != "finished":
                results = train(replace(job.run.config, run_dir=job.folder), RunFolder(job.folder))
                return Outcome(job.id, interrupted=results["interrupted"])
    except Exception as error:  # one failing run must not end the others
        return Outcome(job.id, one_line(error))
    return Outcome(job.id)


def one_line(error: Exception) -> str:
    """Return an error in one line, with its name if it is not the user's."""
    line = " ".join(str(error).split())
    if isinstance(error, ValueError):
        return line
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


@contextmanager
def locked(folder: Path, patience: float = 5.0) -> Iterator[None]:
    """Keep other processes out of a run; the system lifts the lock when this one dies.

    Args:
        folder: of the run.
        patience: seconds to wait for the lock, since a killed sweep's processes take one to end.

    Raises:
        ValueError: if another process keeps it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        deadline = time.monotonic() + patience
        while not _try_lock(file.fileno()):
            if time.monotonic() > deadline:
                raise ValueError(f"another process is at work in {folder}")
            time.sleep(0.1)
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
