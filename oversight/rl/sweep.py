"""Sweeps: all runs of a study, each started, resumed or skipped, and the table of their results.

Runs that an export of results contains are finished and are not run again.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from oversight.rl.config import TrainConfig
from oversight.rl.result_files import (
    ABOUT,
    KNOWN,
    ROWS,
    RULES,
    SETTINGS,
    Settings,
    as_csv,
    differences,
    read_rows,
    rows_of,
    unpack,
)
from oversight.rl.study import Run, Study
from oversight.rl.training import train
from oversight.runs.folder import (
    RunFolder,
    flat,
    read_config,
    read_json,
    replace_file,
    require_writable,
    write_json,
)
from oversight.runs.parallel import Executor, JobsProgress, Outcome, locked, one_line

State = Literal["new", "begun", "finished"]

SUMMARY = ("observed_episodes", "held_out_episodes", "env_steps", "wall_seconds", "commit")
"""Entries of the summary of a finished run, except its selection."""


@dataclass(frozen=True, slots=True)
class Job:
    """A run of a study and its folder."""

    run: Run
    folder: Path

    @property
    def id(self) -> str:
        """The id of the run."""
        return self.run.id


Known = Mapping[str, list[dict[str, Any]]]
"""The rows of each run, one for each selection rule."""


def sweep(
    study: Study, runs: Sequence[Run], folder: Path, export: Path | None, executor: Executor[Job]
) -> dict[str, str]:
    """Start or resume all unfinished runs, write the results, and return errors by run.

    Args:
        study: the whole study.
        runs: those of its runs that are wanted.
        folder: of the study.
        export: exported results, whose runs count as finished.
        executor: executes the jobs, such as `oversight.runs.parallel.EngineConfig.execute`.

    Raises:
        ValueError: if the folder or the export holds other runs, or the folder cannot be written.
        KeyboardInterrupt: if a run was interrupted.
    """
    jobs = jobs_of(runs, folder)
    known = known_runs(study, export, folder)
    begun, new = unfinished(jobs, known)
    require_writable(folder, "--folder")
    if export is not None:
        adopt(export, folder)
    console = Console(stderr=True)
    finished = len(jobs) - len(begun) - len(new)
    start = f"study {study.name}: {finished} runs finished, {len(begun)} begun, {len(new)} new"
    console.out(f"{start}; folder {folder}", highlight=False)
    failed: dict[str, str] = {}
    write_results(study, folder, failed, known)  # names what is missing, also after a kill
    costs = {job.id: job.run.config.total_timesteps for job in begun + new}
    try:
        if costs:
            outcomes = executor(work, begun + new)
            progress = JobsProgress(costs, console)
            progress.run(_recorded(outcomes, study, folder, failed, known), failed)
    finally:
        write_results(study, folder, failed, known)
    for run, error in failed.items():
        console.out(f"failed: {run}: {error}", highlight=False)
    return failed


def _recorded(
    outcomes: Iterable[Outcome], study: Study, folder: Path, failed: Mapping[str, str], known: Known
) -> Iterator[Outcome]:
    """Yield outcomes after the results are written, for a kill, or a report while others run."""
    for outcome in outcomes:
        write_results(study, folder, failed, known)
        yield outcome


def known_runs(study: Study, export: Path | None, folder: Path) -> Known:
    """Return the finished runs of an export: the given one, or the one copied into the folder.

    Raises:
        ValueError: if there is no export, if it does not fit, or if the folder is one itself.
    """
    if (folder / ABOUT).exists():
        raise ValueError(f"{folder} holds exported results: name another --folder")
    if export is not None:
        require_export(export)
    known = read_known(study, export or folder / KNOWN)
    if export is not None and not _shared_runs(study, export):
        raise ValueError(
            f"{export} holds no run of study {study.name} with its settings: name an export of "
            "this study, or leave --known out"
        )
    return known


def _shared_runs(study: Study, export: Path) -> set[str]:
    """Return the ids of the runs of a study that an export has, whole or not, with settings."""
    has = {row["run"] for row in read_rows(export / ROWS)}
    settings = unpack(read_json(export / SETTINGS), export / SETTINGS)
    return {run.id for run in study.runs()} & has & {*settings}


def unfinished(jobs: Sequence[Job], known: Known) -> tuple[list[Job], list[Job]]:
    """Return the jobs that were begun, and the new ones.

    Args:
        jobs: all jobs.
        known: the runs that an export contains.

    Raises:
        ValueError: if the folder of a job holds another run.
    """
    states = {job.id: state(job) for job in jobs}
    states |= dict.fromkeys(known, "finished")
    begun = [job for job in jobs if states[job.id] == "begun"]
    return begun, [job for job in jobs if states[job.id] == "new"]


def state(job: Job) -> State:
    """Return whether a run is new, begun or finished.

    Raises:
        ValueError: if its folder holds a run of other settings.
    """
    folder = RunFolder(job.folder)
    if not folder.config.exists():
        return "new"
    stored = read_config(folder, TrainConfig)
    if stored != job.run.config:
        what = next(iter(changed_settings(stored, job.run.config)))
        raise ValueError(
            f"{job.folder} holds another run {job.run.id}: {what}; name another --folder, or "
            "remove that run"
        )
    return "begun" if summary(folder) is None else "finished"


def summary(folder: RunFolder) -> dict[str, Any] | None:
    """Return the summary of a finished run, or None if it is missing or incomplete."""
    try:
        read = read_json(folder.summary)
    except ValueError:
        return None
    chosen = read.get("selection")
    whole = {*SUMMARY} <= {*read} and isinstance(chosen, dict) and {*RULES} <= {*chosen}
    return read if whole and read.get("interrupted") is False else None


def changed_settings(stored: TrainConfig, declared: TrainConfig) -> Iterator[str]:
    """Yield a phrase for each setting that differs."""
    settings = zip(flat(asdict(stored)), flat(asdict(declared)), strict=True)
    for (name, one), (_, other) in settings:
        if one != other:
            yield f"{name} is {one!r} there and {other!r} here"


def work(job: Job) -> Outcome:
    """Start or resume a run unless it is finished, and return its outcome."""
    try:
        with locked(job.folder):
            if state(job) != "finished":
                results = train(replace(job.run.config, run_dir=job.folder), RunFolder(job.folder))
                return Outcome(job.id, interrupted=results["interrupted"])
    except Exception as error:  # one failed run must not end the others
        return Outcome(job.id, one_line(error))
    return Outcome(job.id)


def read_known(study: Study, place: Path) -> Known:
    """Return the rows of all runs of a study that an export contains; none if there is no export.

    The rows keep the commit that the runs were made with.

    Raises:
        ValueError: if the export is damaged, or a run has other settings than the study declares.
    """
    if not (place / ABOUT).exists():
        return {}
    settings = unpack(read_json(place / SETTINGS), place / SETTINGS)
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in read_rows(place / ROWS):
        rows.setdefault(row["run"], []).append({**row, "study": study.name})
    runs = [run for run in study.runs() if run.id in rows and run.id in settings]
    for run in runs:
        _require_same(run, settings[run.id], place)
    whole = {run.id: rows[run.id] for run in runs}
    return {name: each for name, each in whole.items() if [row["rule"] for row in each] == [*RULES]}


def adopt(place: Path, folder: Path) -> None:
    """Copy an export into the folder of a study, where later sweeps find it."""
    target, part = folder / KNOWN, folder / f"{KNOWN}.part"
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(place, part, ignore=shutil.ignore_patterns("report"))
    shutil.rmtree(target, ignore_errors=True)
    part.rename(target)


def require_export(place: Path) -> None:
    """Check that a folder holds exported results.

    Raises:
        ValueError: if it does not.
    """
    if not (place / ABOUT).exists():
        raise ValueError(
            f"{place} holds no exported results: name a folder that `oversight.report --export` "
            "wrote"
        )


def _require_same(run: Run, stored: Settings, place: Path) -> None:
    declared = dict(flat(json.loads(json.dumps(asdict(run.config), default=str))))
    for name, (there, here) in differences(stored, declared).items():
        raise ValueError(
            f"{place} holds another run {run.id}: {name} is {there!r} there and {here!r} here; "
            "name another --known"
        )


def write_results(
    study: Study, folder: Path, failed: Mapping[str, str], known: Known
) -> list[dict[str, Any]]:
    """Write `results.json` and `results.csv` of all finished runs of a study; return the rows.

    Args:
        study: the whole study, also if a part of it was run.
        folder: of the study.
        failed: the errors of the runs that failed, by id.
        known: the rows of the runs that an export contains.
    """
    rows: list[dict[str, Any]] = []
    missing = []
    runs = study.runs()
    for job in jobs_of(runs, folder):
        results = summary(RunFolder(job.folder))
        if results is not None:
            own = {"run": job.id, "study": study.name, "variation": job.run.variation}
            rows += rows_of(results, **own)
        elif job.id in known:
            rows += known[job.id]
        else:
            missing.append(job.id)
    write_json(
        folder / "results.json",
        {
            "study": study.name,
            "runs": len(runs),
            "missing": missing,
            "failed": [{"run": run, "error": error} for run, error in failed.items()],
            "rows": rows,
        },
    )
    replace_file(folder / "results.csv", as_csv(rows).encode())
    return rows


def jobs_of(runs: Sequence[Run], folder: Path) -> list[Job]:
    """Return a job for each run, with a folder below that of the study."""
    return [Job(run, folder / "runs" / run.id) for run in runs]
