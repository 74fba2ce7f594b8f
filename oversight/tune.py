"""`python -m oversight.tune STUDY`: the settings of each method, found by observed reward alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from configs.rl import STUDIES
from oversight.rl.config import require_device
from oversight.rl.study import Study, declare
from oversight.rl.tuning import TuningJob, result, tune
from oversight.runs import cli
from oversight.runs.console import print_line
from oversight.runs.folder import require_writable, write_json
from oversight.runs.parallel import Engine, JobsProgress, execute, require_engine

PROGRAM = "python -m oversight.tune"


@dataclass(frozen=True, kw_only=True, slots=True)
class TuneConfig:
    """Tune every method of a study by the budget that it declares, or go on with it."""

    study: Annotated[str, tyro.conf.Positional]
    """Name of a study: quick or published."""
    methods: tuple[str, ...] = ()
    """Methods of the study to tune; by default all."""
    folder: Path | None = None
    """Folder of the tuning; by default studies/STUDY-tuning."""
    save: Path | None = None
    """File of what was found, as JSON; by default tuned.json in the folder. A study reads
    configs/tuned/STUDY.json."""
    workers: int | None = None
    """Methods at a time; by default one for each core, or as many as the cluster has room for."""
    engine: Engine = "joblib"
    """Where runs are done: joblib on this machine's cores, ray on a cluster."""
    address: str | None = None
    """Address of a running Ray cluster that shares the folder; by default one is started here."""

    def __post_init__(self) -> None:
        """Refuse what cannot run, before anything is written."""
        require_engine(self.engine, self.workers, self.address)
        if self.save is not None and not self.save.parent.is_dir():
            raise ValueError(f"{self.save} cannot be written: {self.save.parent} is not a folder")


def main(args: Sequence[str]) -> int:
    """Tune as the arguments say; return 1 if a method could not be tuned."""
    settings = cli.parse(TuneConfig, args, PROGRAM)
    _, declaration = cli.choose(STUDIES, settings.study, "study")
    study = declare(settings.study, declaration)
    require_device(study.settings.device)
    folder = settings.folder or Path("studies") / f"{study.name}-tuning"
    jobs = jobs_of(study, settings.methods, folder)
    require_writable(folder, "--folder")
    todo = [job for job in jobs if result(job) is None]
    console = Console(stderr=True)
    start = f"tuning for {study.name}: {len(jobs)} methods, {len(todo)} to do, folder {folder}"
    print_line(console, start)
    failed: dict[str, str] = {}
    outcomes = execute(tune, todo, settings.engine, settings.workers, settings.address)
    JobsProgress({job.id: 1 for job in todo}, console).run(outcomes, failed)
    path = settings.save or folder / "tuned.json"
    write_json(path, record(study, jobs))
    for method, error in failed.items():
        print_line(console, f"failed: {method}: {error}")
    print_line(Console(), f"found:  {path}")
    return 1 if failed else 0


def jobs_of(study: Study, methods: Sequence[str], folder: Path) -> list[TuningJob]:
    """Return the jobs of a study's methods, or of those named.

    Raises:
        ValueError: if the study lacks a method that is named.
    """
    has = list(dict.fromkeys(name for panel in study.panels for name in panel.methods))
    unknown = [name for name in methods if name not in has]
    if unknown:
        raise ValueError(f"the study has no method {unknown[0]!r}: choose from {', '.join(has)}")
    return [TuningJob(study, name, folder) for name in has if not methods or name in methods]


def record(study: Study, jobs: Sequence[TuningJob]) -> dict[str, Any]:
    """Return what was found, and how it was looked for, as plain data."""
    found = {job.method: result(job) for job in jobs}
    tuning = study.tuning
    return {
        "study": study.name,
        "objective": "mean held-out observed return of the checkpoint that the rule observed keeps",
        "trials": tuning.trials,
        "seeds": list(tuning.seeds),
        "oversight_probability": tuning.oversight_probability,
        "space": {name: list(ends) for name, ends in tuning.space.items()},
        "methods": {name: each for name, each in found.items() if each is not None},
    }


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
