"""One run of a sweep: what state its folder is in, and how it is brought to its end."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from oversight.config import TrainConfig
from oversight.record import flat, read_json
from oversight.run import RunFolder, read_config
from oversight.selection import RULES
from oversight.study import Run
from oversight.sweeps.lock import locked
from oversight.sweeps.outcome import Outcome, one_line
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
