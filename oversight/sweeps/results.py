"""What came out of a study: one row for each run and rule of selection."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oversight.files import replace_file
from oversight.record import write_json
from oversight.results import METRICS, as_csv
from oversight.run import RunFolder
from oversight.selection import RULES
from oversight.study import Run, Study
from oversight.sweeps.job import Job, summary
from oversight.sweeps.known import Known


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
