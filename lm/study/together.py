"""A study of several processes: all train each model, and the first does everything else."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from lm.config import StudyConfig
from lm.experiment import assist
from lm.experiment.start import task_of
from lm.study.job import work
from lm.study.plan import Job
from lm.training.processes import broadcast, processes
from oversight.sweeps.outcome import Outcome

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


def lead(jobs: Sequence[Job]) -> Iterator[Outcome]:
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


def dismiss() -> None:
    """Tell the other processes that no job is left; for the first process."""
    broadcast(None)


def follow() -> None:
    """Help the first process to do its jobs; for all others, which end when it does.

    Raises:
        ValueError: as `run_method`, here alone or in all processes.
    """
    try:
        while (job := broadcast(_NONE)) is not None:
            config = job.study.run_config(job.recall)
            assist(config, task_of(config), job.method, job.seed, job.folder)
    except RuntimeError as error:
        if "Connection" not in str(error):
            raise
        raise SystemExit(1) from error  # the process that is gone tells why
