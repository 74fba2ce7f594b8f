"""What came out of a study: the results of its runs, what they are beside each other, one file."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lm.attack.area import area, savings, share
from lm.attack.worst import steps_to_reach
from lm.config import StudyConfig
from lm.reporting.curves import FACTS, LOSS, worst_of
from lm.reporting.runs import BASE, GOLD, Result, number
from lm.study.plan import Job
from oversight.record import read_json, write_json

RESULT = "result.json"
LEFT_OUT = ("curves", "training", "samples", "gradient_shares")
"""Parts of a run's own result that the summary of all does without."""


def read_result(job: Job) -> Result | None:
    """Return the result of a finished run, or None if there is no whole one of that run.

    A run of which the study asks more attacks than it has had is not finished.
    """
    try:
        result = read_json(job.folder / RESULT)
    except ValueError:
        return None
    own = (result.get("method"), result.get("seed")) == (job.method, job.seed)
    parts = ("curves", "grid") if job.study.suite == "full" else ("curves",)
    whole = all(isinstance(result.get(part), list) for part in parts)
    return result if own and whole else None


def results_of(jobs: Sequence[Job]) -> list[Result]:
    """Return the results of the runs that are finished, each with what it is beside the others."""
    found = []
    for job in jobs:
        result = read_result(job)
        if result is not None:
            found.append({**result, "label_recall": job.recall})
    return [{**result, **beside(result, found)} for result in found]


def beside(result: Result, others: Sequence[Result]) -> dict[str, float | int | None]:
    """Return what a result is beside those of gold and of the unrouted model of the same seed.

    - `relearned_forget_loss`, `relearned_facts`: after the worst attack, at its budget;
    - `savings_vs_gold`: area between the relearning curve of the forget loss and gold's, in nats
      times steps; above 0 relearning is ahead of gold;
    - `savings_vs_gold_facts`: the same of the share of forget facts known, in shares times steps;
    - `area_to_gold`, `area_to_gold_facts`: the area to gold's curve, to whichever side of it;
    - `share_of_base`, `share_of_base_facts`: the area to gold's curve over the unrouted model's;
    - `steps_to_relearn`: steps until the forget loss is back at the unrouted model's.

    None where a run is missing, or the level is not reached.
    """
    known = {other["method"]: other for other in others if other["seed"] == result["seed"]}
    gold, base = known.get(GOLD, {}), known.get(BASE, {})
    found: dict[str, float | int | None] = {}
    for suffix, shown in (("", LOSS), ("_facts", FACTS)):
        own, of_gold, of_base = (worst_of(each, shown) for each in (result, gold, base))
        if own:
            found["relearned_facts" if suffix else "relearned_forget_loss"] = own.values[-1]
        if own and of_gold:
            found[f"savings_vs_gold{suffix}"] = savings(own, of_gold)
            found[f"area_to_gold{suffix}"] = area(own, of_gold).between
            if of_base:
                found[f"share_of_base{suffix}"] = share(own, of_gold, of_base)
    own = worst_of(result, LOSS)
    if own and base:
        level = number(base, "forget_loss.before")
        found["steps_to_relearn"] = steps_to_reach(own, level)
    return found


def write_summary(
    path: Path,
    study: StudyConfig,
    jobs: Sequence[Job],
    results: Sequence[Result],
    told: Mapping[str, Any],
) -> None:
    """Write the summary of a study, which is whole or as it was.

    Args:
        path: of the file.
        study: the settings.
        jobs: all of its runs.
        results: of those that are finished.
        told: what else to say, such as the verdict.
    """
    finished = {(result["method"], result["seed"], result["label_recall"]) for result in results}
    missing = [job.id for job in jobs if (job.method, job.seed, job.recall) not in finished]
    kept = [{k: v for k, v in result.items() if k not in LEFT_OUT} for result in results]
    write_json(path, {"study": asdict(study), **told, "missing": missing, "results": kept})
