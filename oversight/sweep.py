"""`python -m oversight.sweep STUDY`: every run of a declared study, and one table of results."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from configs.rl import STUDIES
from oversight.rl.config import require_device
from oversight.rl.study import Study, declare, restrict
from oversight.rl.sweep import (
    ABOUT,
    KNOWN,
    Job,
    Known,
    adopt,
    jobs_of,
    read_known,
    require_export,
    state,
    work,
    write_results,
)
from oversight.runs import cli
from oversight.runs.console import print_line
from oversight.runs.folder import interpreter, require_writable
from oversight.runs.parallel import Engine, JobsProgress, execute, require_engine

PROGRAM = "python -m oversight.sweep"


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepConfig:
    """Run a study, or go on with it: finished runs are kept, half-finished ones resumed."""

    study: Annotated[str, tyro.conf.Positional]
    """Name of a study: quick or published."""
    methods: tuple[str, ...] = ()
    """Methods of the study to run; by default all."""
    oversight_probabilities: tuple[float, ...] = ()
    """Oversight probabilities of the study to run; by default all."""
    seeds: tuple[int, ...] = ()
    """Seeds of the study to run; by default all."""
    folder: Path | None = None
    """Folder of the study; by default studies/STUDY."""
    known: Path | None = None
    """Results that `oversight.report` exported: their runs count as finished."""
    workers: int | None = None
    """Runs at a time; by default one for each core, or as many as the cluster has room for."""
    engine: Engine = "joblib"
    """Where runs are done: joblib on this machine's cores, ray on a cluster."""
    address: str | None = None
    """Address of a running Ray cluster that shares the folder; by default one is started here."""

    def __post_init__(self) -> None:
        """Refuse what cannot run, before anything is written."""
        require_engine(self.engine, self.workers, self.address)


def main(args: Sequence[str]) -> int:
    """Sweep as the arguments say; return 1 if a run failed."""
    settings = cli.parse(SweepConfig, args, PROGRAM)
    _, declaration = cli.choose(STUDIES, settings.study, "study")
    study = declare(settings.study, declaration)
    require_device(study.settings.device)
    chosen = (settings.methods, settings.oversight_probabilities, settings.seeds)
    folder = settings.folder or Path("studies") / study.name
    jobs = jobs_of(restrict(study.runs(), *chosen), folder)
    known = known_runs(study, settings.known, folder)
    begun, new = unfinished(jobs, known)
    require_writable(folder, "--folder")
    if settings.known is not None:
        adopt(settings.known, folder)
    console = Console(stderr=True)
    finished = len(jobs) - len(begun) - len(new)
    start = f"study {study.name}: {finished} runs finished, {len(begun)} begun, {len(new)} new"
    print_line(console, f"{start}; folder {folder}")
    failed: dict[str, str] = {}
    write_results(study, folder, failed, known)  # a kill leaves word of what is missing
    try:
        sweep(begun + new, settings, console, failed)
    finally:
        write_results(study, folder, failed, known)
    for run, error in failed.items():
        print_line(console, f"failed: {run}: {error}")
    shown = f"results:  {folder / 'results.json'}\nreport:  {report_command(folder)}"
    print_line(Console(), shown)
    return 1 if failed else 0


def known_runs(study: Study, export: Path | None, folder: Path) -> Known:
    """Return the runs that an export holds: a new one, or the one that the folder took over.

    Raises:
        ValueError: if it is none or does not fit, or if the folder is one itself.
    """
    if (folder / ABOUT).exists():
        raise ValueError(f"{folder} holds exported results: name another --folder")
    if export is not None:
        require_export(export)
    return read_known(study, export or folder / KNOWN)


def unfinished(jobs: Sequence[Job], known: Known) -> tuple[list[Job], list[Job]]:
    """Return the jobs that were begun and those that were not, without the finished ones.

    Args:
        jobs: all of them.
        known: the runs that were finished elsewhere.

    Raises:
        ValueError: if a folder holds another run than the study's.
    """
    states = {job.id: state(job) for job in jobs}
    states |= dict.fromkeys(known, "finished")
    begun = [job for job in jobs if states[job.id] == "begun"]
    return begun, [job for job in jobs if states[job.id] == "new"]


def sweep(
    jobs: Sequence[Job], settings: SweepConfig, console: Console, failed: dict[str, str]
) -> None:
    """Do all jobs, and note the errors of those that failed.

    Raises:
        KeyboardInterrupt: if one was interrupted.
    """
    if not jobs:
        return
    outcomes = execute(work, jobs, settings.engine, settings.workers, settings.address)
    costs = {job.id: job.run.config.total_timesteps for job in jobs}
    JobsProgress(costs, console).run(outcomes, failed)


def report_command(folder: Path) -> str:
    """Return how to make the report of a study's folder."""
    return f"{interpreter()} -m oversight.report {shlex.quote(str(folder))}"


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
