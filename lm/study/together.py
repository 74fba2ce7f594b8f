"""A study of several processes: all train each model, and the first does everything else."""

from collections.abc import Iterator, Sequence

from lm.config import StudyConfig
from lm.experiment import assist
from lm.experiment.start import task_of
from lm.study.job import work
from lm.study.plan import Job
from lm.training.processes import broadcast, processes
from oversight.sweeps.outcome import Outcome

_NONE: Job | None = None


def require_spread(study: StudyConfig) -> None:
    """Refuse settings that do not fit the processes there are.

    Raises:
        ValueError: if processes have nothing to share, or no equal shares of a batch.
    """
    count, scale = processes().size, study.loop.scale
    if count > 1 and scale.parallel == "none":
        raise ValueError(
            f"{count} processes were started, and each would do the same: give "
            "--loop.scale.parallel ddp, or fsdp, or start without torchrun"
        )
    scale.pieces(study.batch_size)


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
