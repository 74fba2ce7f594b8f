"""Which runs a study has, where they go, and in which order they are best started.

One run of a study, in a process of its own: brought to its end from wherever it is.

What came out of a study: the results of its runs, what they are beside each other, one file.

A study of several processes: all train each model, and the first does everything else.

The cards of a study's models, each in its run's folder, and in that which hubs take.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lm.attacks.results import area, savings, share, steps_to_reach
from lm.config import StudyConfig
from lm.methods import begins_with
from lm.model_card import card
from lm.pretraining import task_of
from lm.report import BASE, FACTS_CURVE, GOLD, LOSS_CURVE, Result, number, worst_of
from lm.report_figures import write_page
from lm.run import PLAIN, run_method, train_as_worker
from lm.training.distributed import broadcast, processes
from oversight.runs.folder import read_json, replace_file, write_json
from oversight.runs.parallel import Outcome, ProgressReporter, locked, one_line

REFERENCES = (GOLD, BASE)
"""Methods that are told nothing or everything, whatever the labels."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run: a method with a seed, at a share of labels.

    Attributes:
        study: the settings of all.
        method: its name.
        seed: of everything.
        recall: share of the stories to forget that is labeled so.
        folder: its own.
    """

    study: StudyConfig
    method: str
    seed: int
    recall: float
    folder: Path

    @property
    def id(self) -> str:
        """What the run is called."""
        return self.folder.name

    @property
    def cost(self) -> float:
        """How long it takes, beside others: to train is most of it, and some take it over."""
        return 0.5 if begins_with(self.method) else 1.0


def jobs_of(study: StudyConfig, folder: Path) -> list[Job]:
    """Return the runs of a study, each in its own folder, in the order to start them.

    The unrouted models come first, and what begins with the model of another method comes last. In
    a sweep over labels the references are run once, and always, since robust unlearning is measured
    from one of them.
    """
    runs = sorted(_runs(study), key=lambda run: (run[0] != BASE, begins_with(run[0]) is not None))
    return [
        Job(study, method, seed, recall, folder / "runs" / _name(study, method, seed, recall))
        for method, seed, recall in runs
    ]


def _runs(study: StudyConfig) -> Iterator[tuple[str, int, float]]:
    """Yield method, seed and recall."""
    if study.sweep == "none":
        for method in study.method:
            yield from ((method, seed, study.label_recall) for seed in study.seeds)
        return
    for method in dict.fromkeys([*REFERENCES, *study.method]):
        recalls = (1.0,) if method in REFERENCES else study.recalls
        yield from ((method, seed, recall) for seed in study.seeds for recall in recalls)


def _name(study: StudyConfig, method: str, seed: int, recall: float) -> str:
    if study.sweep == "none" or method in REFERENCES:
        return f"{method}-seed{seed}"
    return f"{method}-recall{recall:g}-seed{seed}"


def work(job: Job) -> Outcome:
    """Bring a run to its end, write its page for TensorBoard, and tell how it went."""
    torch.set_num_threads(1)  # sums depend on it, and there is a process for each core
    try:
        with locked(job.folder):
            for part in job.folder.glob("*.part"):  # what a kill has left half written
                part.unlink()
            config = job.study.run_config(job.recall)
            task, note = task_of(config), ProgressReporter(job.folder)
            result = run_method(config, task, job.method, job.seed, job.folder, note)
            write_page(result, job.folder)
    except Exception as error:  # one failing run must not end the others
        return Outcome(job.id, one_line(error))
    return Outcome(job.id)


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
    for suffix, shown in (("", LOSS_CURVE), ("_facts", FACTS_CURVE)):
        own, of_gold, of_base = (worst_of(each, shown) for each in (result, gold, base))
        if own:
            found["relearned_facts" if suffix else "relearned_forget_loss"] = own.values[-1]
        if own and of_gold:
            found[f"savings_vs_gold{suffix}"] = savings(own, of_gold)
            found[f"area_to_gold{suffix}"] = area(own, of_gold).between
            if of_base:
                found[f"share_of_base{suffix}"] = share(own, of_gold, of_base)
    own = worst_of(result, LOSS_CURVE)
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


_NONE: Job | None = None


def spread(study: StudyConfig) -> StudyConfig:
    """Return the settings of a study for the processes there are: several hold the same weights.

    Unless the settings say that weights are sharded.

    Raises:
        ValueError: if processes have nothing to share, or no equal shares of a batch.
    """
    if processes().size > 1 and study.loop.scale.parallel == "none":
        scale = replace(study.loop.scale, parallel="ddp")
        study = replace(study, loop=replace(study.loop, scale=scale))
    study.loop.scale.pieces(study.batch_size)
    return study


def run_jobs(jobs: Sequence[Job]) -> Iterator[Outcome]:
    """Do jobs one after another, the other processes helping; for the first process.

    Raises:
        ValueError: if one fails, since processes that wait for it cannot go on.
    """
    for job in jobs:
        broadcast(job)
        outcome = work(job)
        if outcome.error is not None:
            raise ValueError(f"{job.id}: {outcome.error}")
        yield outcome


def stop_workers() -> None:
    """Tell the other processes that no job is left; for the first process."""
    broadcast(None)


def run_as_worker() -> None:
    """Help the first process to do its jobs; for all others, which end when it does.

    Raises:
        ValueError: as `run_method`, here alone or in all processes.
    """
    try:
        while (job := broadcast(_NONE)) is not None:
            config = job.study.run_config(job.recall)
            train_as_worker(config, task_of(config), job.method, job.seed, job.folder)
    except RuntimeError as error:
        if "Connection" not in str(error):
            raise
        raise SystemExit(1) from error  # the process that is gone tells why


CARD = "MODEL_CARD.md"
HUB_CARD = "README.md"
"""The name by which hubs look for it."""


def write_cards(study: StudyConfig, jobs: Sequence[Job], results: Sequence[Result]) -> None:
    """Write the card of each finished run, whole or as it was.

    Args:
        study: the settings.
        jobs: all of its runs.
        results: of those that are finished.
    """
    folders = {(job.method, job.seed, job.recall): job.folder for job in jobs}
    for result in results:
        recall = result["label_recall"]
        folder = folders[result["method"], result["seed"], recall]
        others = [
            each
            for each in results
            if each["label_recall"] == recall or each["method"] in REFERENCES
        ]
        written = card(study, result, others).encode()
        replace_file(folder / CARD, written)
        if (folder / PLAIN).is_dir():
            replace_file(folder / PLAIN / HUB_CARD, written)
