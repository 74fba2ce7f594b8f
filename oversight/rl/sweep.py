"""One run of a sweep: what state its folder is in, and how it is brought to its end.

Runs known from exported results: they were finished elsewhere, and are not done again.

The results of a study: one row for each run and rule of selection.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from oversight.rl.config import TrainConfig
from oversight.rl.result_files import (
    ABOUT,
    KNOWN,
    METRICS,
    ROWS,
    RULES,
    SETTINGS,
    Settings,
    as_csv,
    differences,
    read_rows,
    unpack,
)
from oversight.rl.study import Run, Study
from oversight.rl.training import train
from oversight.runs.folder import RunFolder, flat, read_config, read_json, replace_file, write_json
from oversight.runs.parallel import Outcome, locked, one_line

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
        what = next(iter(changed_settings(stored, job.run.config)))
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


def changed_settings(stored: TrainConfig, declared: TrainConfig) -> Iterator[str]:
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


Known = Mapping[str, list[dict[str, Any]]]
"""By run, its rows, one for each rule of selection."""


def read_known(study: Study, place: Path) -> Known:
    """Return the rows of those runs of a study that an export holds whole; none without an export.

    The commit that they ran on may be another than today's: it stays in their rows.

    Raises:
        ValueError: if the export is damaged, or holds a run with other settings than the study's.
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
    """Copy an export into a study's folder, where it is found from then on."""
    target, part = folder / KNOWN, folder / f"{KNOWN}.part"
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(place, part, ignore=shutil.ignore_patterns("report"))
    shutil.rmtree(target, ignore_errors=True)
    part.rename(target)


def require_export(place: Path) -> None:
    """See that a folder holds exported results.

    Raises:
        ValueError: if not.
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
        study: all of it, whatever part was run last.
        folder: of the study.
        failed: by run, the error of those that failed.
        known: by run, the rows of those that were finished elsewhere.
    """
    rows: list[dict[str, Any]] = []
    missing = []
    runs = study.runs()
    for job in jobs_of(runs, folder):
        results = summary(RunFolder(job.folder))
        if results is not None:
            rows += rows_of(study, job.run, results)
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
    """Return the jobs of runs, each in its own folder below that of the study."""
    return [Job(run, folder / "runs" / run.id) for run in runs]


def rows_of(study: Study, run: Run, results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of one run, a rule each.

    Choosing by held-out observed episodes is charged for them.
    """
    rows = []
    for rule in RULES:
        chosen = results["selection"][rule]
        spent = results["held_out_episodes"] if rule == "observed" else 0
        rows.append(
            {
                "run": run.id,
                "study": study.name,
                "method": run.config.method,
                "variation": run.variation,
                "oversight_probability": run.config.oversight_probability,
                "seed": run.config.seed,
                "rule": rule,
                "step": chosen["step"],
                **{name: chosen[name] for name in METRICS},
                "observed_episodes": results["observed_episodes"] + spent,
                **{name: results[name] for name in ("env_steps", "wall_seconds", "commit")},
            }
        )
    return rows
