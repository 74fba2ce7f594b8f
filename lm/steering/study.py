"""A study: a routed and an unrouted model for each seed, and the report when they end.

Runs are executed in parallel in separate processes. A finished run is never repeated.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from rich.console import Console

from lm.stages import RESULT, require_result_of
from lm.steering.config import RunConfig, StudyConfig
from lm.steering.corpus import load_corpus
from lm.steering.report import Result, Results, summary, tables, verdict
from lm.steering.run import run, run_identity
from lm.steering.training import KINDS, Kind, first_model, gate_residual
from oversight.runs.folder import (
    RunFolder,
    create,
    interpreter,
    next_free,
    read_json,
    require_new,
    write_json,
)
from oversight.runs.parallel import (
    Outcome,
    ProgressReporter,
    execute,
    execute_remaining,
    locked,
    one_line,
)


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a study: a kind of model with a seed.

    Attributes:
        config: settings of all runs.
        kind: whether the concept is routed.
        seed: seed of all random numbers of the run.
        folder: folder of this run.
    """

    config: RunConfig
    kind: Kind
    seed: int
    folder: Path

    @property
    def id(self) -> str:
        """The name of the run."""
        return self.folder.name

    @property
    def cost(self) -> float:
        """Duration relative to other runs: all take about as long."""
        return 1.0


def jobs_of(study: StudyConfig, folder: Path) -> list[Job]:
    """Return the runs of a study, each with its own folder, seed by seed."""
    return [
        Job(study.run, kind, seed, folder / "runs" / f"{kind}-seed{seed}")
        for seed in study.seeds
        for kind in KINDS
    ]


def prepare_study(study: StudyConfig, folder: RunFolder | None) -> RunFolder:
    """Return the folder of a study that can run, which is made if it is new.

    Raises:
        ValueError: if the concept or the texts do not fit, or the model cannot be loaded.
    """
    if folder is not None:
        return folder
    path = study.run_dir or next_free(Path("runs") / "steer" / default_name(study.run))
    require_new(RunFolder(path))
    for seed in study.seeds:
        corpus = load_corpus(study.run, seed)
    model = first_model(study.run, corpus, study.seeds[0])
    depth = len(model.layers())
    study.run.steering.candidates(depth)
    gate_residual(model, study.run.route.blocks(depth), study.run.route.dimension)
    line = (
        f"{' '.join(study.run.corpus.concept_words)}: {corpus.share:.3%} of the tokens of "
        f"{len(corpus.train):,} rows"
    )
    Console(stderr=True).out(line, highlight=False)
    return create(path)


def default_name(config: RunConfig) -> str:
    """Return the name of the folder of a study: the first word, and the model if there is one."""
    words = config.corpus.concept_words[0]
    return words if config.model is None else f"{words}-{Path(config.model).name}"


def run_study(study: StudyConfig, folder: RunFolder) -> dict[str, str]:
    """Execute the runs that are not finished, and report; return the errors of failed runs."""
    jobs, failed = jobs_of(study, folder.path), dict[str, str]()
    try:
        _execute(study, jobs, failed)
    finally:
        report(study, jobs, folder, failed)
    return failed


def _execute(study: StudyConfig, jobs: Sequence[Job], failed: dict[str, str]) -> None:
    new = [job for job in jobs if read_result(job) is None]
    start = partial(execute, run_job, engine="joblib", workers=study.workers)
    execute_remaining(jobs, new, start, failed)


def run_job(job: Job) -> Outcome:
    """Start or resume a run, execute it to its end, and write its TensorBoard page."""
    torch.set_num_threads(1)  # sums depend on it, and there is a process for each core
    try:
        with locked(job.folder):
            for part in job.folder.glob("*.part"):  # left half-written by a kill
                part.unlink()
            result = run(job.config, job.kind, job.seed, job.folder, ProgressReporter(job.folder))
            from lm.steering.figures import write_page  # noqa: PLC0415 (slow to import)

            write_page(result, job.folder)
    except Exception as error:  # one failing run must not end the others
        return Outcome(job.id, one_line(error))
    return Outcome(job.id)


def read_result(job: Job) -> Result | None:
    """Return the result of a finished run, or None if there is no complete result of that run.

    Raises:
        ValueError: if the result is of a run with other settings or texts, or was changed.
    """
    if not (job.folder / RESULT).exists():
        return None
    require_result_of(job.folder, run_identity(job.config, job.kind, job.seed))
    return read_json(job.folder / RESULT)


def report(
    study: StudyConfig, jobs: Sequence[Job], folder: RunFolder, failed: dict[str, str]
) -> None:
    """Write the summary and the figures of the finished runs, and print tables and verdict."""
    found = [result for job in jobs if (result := read_result(job)) is not None]
    results, config = Results(found), study.run
    write_json(folder.summary, {**summary(results, config.steering), "failed": failed})
    console = Console()
    drawn = folder.path / "figures" if found else None
    if found:
        from lm.steering.figures import draw  # noqa: PLC0415 (slow to import)

        draw(results, config, folder.path / "figures")
        for table in tables(results, config):
            console.print(table)
        console.out(verdict(results, config.steering), highlight=False)
    lines = {
        "results": folder.summary,
        "figures": drawn or "no run is finished",
        "curves": f"{interpreter()} -m tensorboard.main --logdir {shlex.quote(str(folder.path))}",
    }
    for name, value in lines.items():
        console.out(f"{name}:  {value}", highlight=False)
