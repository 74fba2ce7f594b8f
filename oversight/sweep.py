"""`python -m oversight.sweep STUDY`: every run of a declared study, and one table of results."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from configs.studies import STUDIES
from oversight import cli
from oversight.build import require_device
from oversight.config import require_at_least_one
from oversight.run import interpreter, require_writable
from oversight.study import restrict
from oversight.sweeps.engines import Engine, execute
from oversight.sweeps.job import Job, state, work
from oversight.sweeps.progress import SweepProgress
from oversight.sweeps.results import jobs_of, write_results

PROGRAM = "python -m oversight.sweep"


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepConfig:
    """Run a study, or go on with it: finished runs are kept, half-finished ones resumed."""

    study: Annotated[str, tyro.conf.Positional]
    """Name of a study: quick or published."""
    methods: tuple[str, ...] = ()
    """Only these methods of the study."""
    oversight_probabilities: tuple[float, ...] = ()
    """Only these oversight probabilities of the study."""
    seeds: tuple[int, ...] = ()
    """Only these seeds of the study."""
    folder: Path | None = None
    """Folder of the study; by default studies/STUDY."""
    workers: int | None = None
    """Runs at a time; by default one for each core, or as many as the cluster has room for."""
    engine: Engine = "joblib"
    """Where runs are done: joblib on this machine's cores, ray on a cluster."""
    address: str | None = None
    """Address of a running Ray cluster, whose machines share the folder; by default one is started
    on this machine."""

    def __post_init__(self) -> None:
        """Refuse what cannot run, before anything is written."""
        if self.workers is not None:
            require_at_least_one("workers", self.workers)
        if self.address is not None and self.engine != "ray":
            raise ValueError("--address is that of a Ray cluster: add --engine ray")


def main(args: Sequence[str]) -> int:
    """Sweep as the arguments say; return 1 if a run failed."""
    settings = cli.parse_simple(SweepConfig, args, PROGRAM)
    study = cli.preset(STUDIES, settings.study, "study")
    require_device(study.settings.device)
    chosen = (settings.methods, settings.oversight_probabilities, settings.seeds)
    folder = settings.folder or Path("studies") / study.name
    jobs = jobs_of(restrict(study.runs(), *chosen), folder)
    todo = unfinished(jobs)
    require_writable(folder, "--folder")
    console = Console(stderr=True)
    start = f"study {study.name}: {len(jobs)} runs, {len(todo)} to do, folder {folder}"
    console.print(start, highlight=False, markup=False, soft_wrap=True)
    failed: dict[str, str] = {}
    try:
        sweep(todo, settings, console, failed)
    finally:
        write_results(study, folder, failed)
    for run, error in failed.items():
        console.print(f"failed: {run}: {error}", highlight=False, markup=False, soft_wrap=True)
    shown = f"results:  {folder / 'results.json'}\nreport:  {report_command(folder)}"
    Console().print(shown, highlight=False, markup=False, soft_wrap=True)
    return 1 if failed else 0


def unfinished(jobs: Sequence[Job]) -> list[Job]:
    """Return the jobs to do, those first that were begun.

    Raises:
        ValueError: if a run in the folder is another one.
    """
    states = [state(job) for job in jobs]
    ordered = zip(jobs, states, strict=True)
    begun = [job for job, state in ordered if state == "begun"]
    return begun + [job for job, state in zip(jobs, states, strict=True) if state == "new"]


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
    with SweepProgress(costs, console) as progress:
        for outcome in outcomes:
            if outcome.interrupted:
                raise KeyboardInterrupt
            progress.end(outcome)
            if outcome.error is not None:
                failed[outcome.id] = outcome.error


def report_command(folder: Path) -> str:
    """Return how to make the report of a study's folder."""
    return f"{interpreter()} -m oversight.report {shlex.quote(str(folder))}"


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
