"""Engines: where jobs run at the same time, and how their outcomes come back, first done first."""

import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, Protocol, TypeVar

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from oversight.sweeps.outcome import Outcome

Engine = Literal["joblib", "ray"]


class Named(Protocol):
    """What has an id, as jobs have."""

    @property
    def id(self) -> str:
        """The id."""


J = TypeVar("J", bound=Named)

DIED = "its process died: killed, or out of memory"


def require_engine(engine: Engine, workers: int | None, address: str | None) -> None:
    """Raise a ValueError for a number of workers below one, or an address without a cluster."""
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    if address is not None and engine != "ray":
        raise ValueError("--address is that of a Ray cluster: add --engine ray")


def execute(
    work: Callable[[J], Outcome],
    jobs: Sequence[J],
    engine: Engine,
    workers: int | None,
    address: str | None = None,
) -> Iterator[Outcome]:
    """Yield the outcome of every job, as they end.

    Args:
        work: done for each job, in another process; it tells errors in its outcome.
        jobs: started in this order.
        engine: `joblib` for the cores of this machine, `ray` for a cluster.
        workers: processes at a time; by default one for each core, or as many as the cluster has.
        address: of a Ray cluster; by default one is started on this machine.

    Raises:
        ValueError: if Ray is asked for and not installed, or its cluster does not answer.
    """
    if engine == "ray":
        yield from on_ray(work, jobs, workers, address)
    else:
        yield from on_cores(work, jobs, workers or joblib.cpu_count())


def on_cores(work: Callable[[J], Outcome], jobs: Sequence[J], workers: int) -> Iterator[Outcome]:
    """Yield outcomes from processes of this machine, one thread each.

    A process that dies takes the pool with it, and joblib does not say which job it had. So those
    that were running are done again alone, each in a process that may die for itself.
    """
    left = list(jobs)
    while left:
        try:
            for outcome in _pool(work, left, workers):
                left = [job for job in left if job.id != outcome.id]
                yield outcome
        except TerminatedWorkerError:
            for job in left[:workers]:
                yield _alone(work, job)
            left = left[workers:]


def _pool(work: Callable[[J], Outcome], jobs: Sequence[J], workers: int) -> Iterator[Outcome]:
    # joblib replaces a process whose memory has grown, and no job is lost by it
    warnings.filterwarnings("ignore", "A worker stopped while some jobs were given", UserWarning)
    # dispatched one by one and in order, so that those running are the first of those left
    orphans = {"initializer": _die_with, "initargs": (os.getpid(),)}
    with joblib.parallel_config("loky", n_jobs=workers, inner_max_num_threads=1, **orphans):
        pool: Any = joblib.Parallel(
            return_as="generator_unordered", pre_dispatch="n_jobs", batch_size=1
        )
        yield from pool(joblib.delayed(work)(job) for job in jobs)


def _die_with(parent: int) -> None:
    """Have this process end with the one that started it, which a kill leaves no time to tell."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _alone(work: Callable[[J], Outcome], job: J) -> Outcome:
    try:
        (outcome,) = _pool(work, [job], 2)  # with one worker joblib would use this very process
    except TerminatedWorkerError:
        return Outcome(job.id, DIED)
    return outcome


def on_ray(
    work: Callable[[J], Outcome], jobs: Sequence[J], workers: int | None, address: str | None
) -> Iterator[Outcome]:
    """Yield outcomes from a Ray cluster, one core a job; its machines must share the folder.

    Jobs are Ray's own tasks: joblib's backend for Ray returns nothing before all are done, and
    ends with the first worker that dies.
    """
    try:
        import ray  # noqa: PLC0415 (an extra of its own, and slow to import)
    except ImportError as error:
        raise ValueError(
            "--engine ray needs Ray, which is not installed: pip install ray, or use --engine "
            "joblib"
        ) from error
    try:
        ray.init(address=address, num_cpus=None if address else workers, log_to_driver=False)
    except (ConnectionError, ValueError) as error:
        raise ValueError(f"no Ray cluster answers at {address}: {error}") from error
    try:
        task = ray.remote(num_cpus=1, max_retries=0)(work)
        waiting = list(jobs)
        running: dict[Any, J] = {}
        while waiting or running:
            while waiting and len(running) < (workers or len(jobs)):
                job = waiting.pop(0)
                running[task.remote(job)] = job
            (done,), _ = ray.wait(list(running))
            yield _fetched(ray, done, running.pop(done))
    finally:
        ray.shutdown()


def _fetched(ray: Any, done: Any, job: Named) -> Outcome:  # noqa: ANN401
    try:
        outcome: Outcome = ray.get(done)
    except ray.exceptions.RayError:
        return Outcome(job.id, DIED)
    return outcome
