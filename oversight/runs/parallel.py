"""Jobs of many runs: worker processes, locks of run folders, and the progress of all of them.

- A job is anything with an `id` that can be pickled. A worker returns its `Outcome`; its errors are
  part of the outcome, so that one failed run does not end the others.
- Jobs run on the cores of this machine (joblib) or on a cluster (Ray).
- A run may report how far it is in a small file of its folder; the process that started all runs
  reads these files and estimates the time left.
"""

import fcntl
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, TextIO, TypeVar

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from oversight.runs.settings import COUNT, require_number

Engine = Literal["joblib", "ray"]

WITHOUT_RAY = (
    "--engine ray needs Ray, which is not installed: pip install ray, or use --engine joblib"
)
WORKER_DIED = "its process died: killed, or out of memory"


class Job(Protocol):
    """A piece of work with an identifier."""

    @property
    def id(self) -> str:
        """The identifier."""


J = TypeVar("J", bound=Job)


class StudyJob(Job, Protocol):
    """A run of a study."""

    @property
    def folder(self) -> Path:
        """The folder of the run, in `runs` in that of its study."""

    @property
    def cost(self) -> float:
        """Duration relative to other runs of the same study."""


S = TypeVar("S", bound=StudyJob)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended.

    Attributes:
        id: identifier of the job.
        error: one line, or None if the job succeeded.
        interrupted: whether the job was asked to stop and can be resumed.
    """

    id: str
    error: str | None = None
    interrupted: bool = False


def one_line(error: Exception) -> str:
    """Return the message of an error in one line, after its type unless it is a ValueError."""
    line = " ".join(str(error).split())
    if isinstance(error, ValueError):
        return line
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


Executor = Callable[[Callable[[J], Outcome], Sequence[J]], Iterator[Outcome]]
"""Executes a function for each job, and yields the outcomes as the jobs end."""


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """The settings of every command that executes many jobs."""

    workers: int | None = None
    """Jobs at a time; by default one per core, or as many as the cluster has room for."""
    engine: Engine = "joblib"
    """Where jobs are executed: joblib on the cores of this machine, ray on a cluster."""
    address: str | None = None
    """Address of a running Ray cluster that shares the folder; by default one starts here."""

    def __post_init__(self) -> None:
        """Refuse an engine that cannot run, before anything is written."""
        if self.workers is not None:
            require_number("workers", self.workers, COUNT)
        if self.address is not None and self.engine != "ray":
            raise ValueError("--address is the address of a Ray cluster: add --engine ray")
        if self.engine == "ray" and find_spec("ray") is None:
            raise ValueError(WITHOUT_RAY)

    def execute(self, work: Callable[[J], Outcome], jobs: Sequence[J]) -> Iterator[Outcome]:
        """Yield the outcomes of all jobs, as `execute` does."""
        return execute(work, jobs, self.engine, self.workers, self.address)


def execute(
    work: Callable[[J], Outcome],
    jobs: Sequence[J],
    engine: Engine,
    workers: int | None,
    address: str | None = None,
) -> Iterator[Outcome]:
    """Yield the outcomes of all jobs in the order in which they end.

    Args:
        work: function that runs a job in another process and returns errors in the outcome.
        jobs: jobs, in the order in which they start.
        engine: `joblib` for the cores of this machine, `ray` for a cluster.
        workers: processes at a time; by default one per core, or as many as the cluster has.
        address: address of a Ray cluster; by default one is started on this machine.

    Raises:
        ValueError: if Ray is not installed, or its cluster does not answer.
    """
    if engine == "ray":
        yield from on_ray(work, jobs, workers, address)
    else:
        yield from on_cores(work, jobs, workers or joblib.cpu_count())


def on_cores(work: Callable[[J], Outcome], jobs: Sequence[J], workers: int) -> Iterator[Outcome]:
    """Yield outcomes from processes of this machine, which use one thread each.

    A process that dies breaks the pool, and joblib does not say which job it had. Therefore all
    jobs that were running are run again one by one, each in a pool of its own.
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
    # joblib replaces a process whose memory has grown; no job is lost by it
    warnings.filterwarnings("ignore", "A worker stopped while some jobs were given", UserWarning)
    # dispatched one by one and in order, so that the running jobs are the first of those left
    orphans = {"initializer": _exit_with, "initargs": (os.getpid(),)}
    with joblib.parallel_config("loky", n_jobs=workers, inner_max_num_threads=1, **orphans):
        pool: Any = joblib.Parallel(
            return_as="generator_unordered", pre_dispatch="n_jobs", batch_size=1
        )
        yield from pool(joblib.delayed(work)(job) for job in jobs)


def _exit_with(parent: int) -> None:
    """End this process when its parent ends, also if the parent is killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _alone(work: Callable[[J], Outcome], job: J) -> Outcome:
    try:
        (outcome,) = _pool(work, [job], 2)  # with one worker joblib would use this very process
    except TerminatedWorkerError:
        return Outcome(job.id, WORKER_DIED)
    return outcome


def on_ray(
    work: Callable[[J], Outcome], jobs: Sequence[J], workers: int | None, address: str | None
) -> Iterator[Outcome]:
    """Yield outcomes from a Ray cluster, one core per job; its machines must share the folder.

    Each job is a task of Ray: joblib's backend for Ray returns nothing before all jobs are done,
    and it fails as a whole if one worker dies.
    """
    try:
        import ray  # noqa: PLC0415 (an extra of its own, and slow to import)
    except ImportError as error:
        raise ValueError(WITHOUT_RAY) from error
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


def _fetched(ray: Any, done: Any, job: Job) -> Outcome:  # noqa: ANN401
    try:
        outcome: Outcome = ray.get(done)
    except ray.exceptions.RayError:
        return Outcome(job.id, WORKER_DIED)
    return outcome


@contextmanager
def locked(folder: Path, patience: float = 5.0) -> Iterator[None]:
    """Keep other processes out of a run's folder; the lock ends with this process at the latest.

    Args:
        folder: folder of the run.
        patience: seconds to wait for the lock; the workers of a killed sweep need one to end.

    Raises:
        ValueError: if another process holds the lock, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise ValueError(
            f"the folder {folder} cannot be written ({error.strerror}): make it writable, or use "
            "another folder"
        ) from error
    with lock as file:
        deadline = time.monotonic() + patience
        while not _try_lock(file.fileno()):
            if time.monotonic() > deadline:
                raise ValueError(
                    f"another process is working in {folder}: wait until it ends, then start again"
                )
            time.sleep(0.1)
        _HELD.add(file)
        try:
            yield
        finally:
            _HELD.discard(file)


_HELD: set[TextIO] = set()
"""The files of the locks that this process holds."""


def _close_locks() -> None:
    """Close the locks in a forked child, such as the lane of an environment, that would keep them.

    A killed run could not be resumed for as long as such a child lives.
    """
    for file in _HELD:
        file.close()


os.register_at_fork(after_in_child=_close_locks)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class JobsProgress:
    """Progress of all jobs: a line for each that ends, and a bar where there is a terminal.

    The estimate of the time left supposes that a unit of cost takes as long as it did since this
    object was made. Use it as a context manager, which draws the bar.

    Args:
        costs: cost of each job by its id, in any unit, such as environment steps.
        console: console to print on.
        folders: folder of each job by its id, if the jobs report their progress there.
        clock: function that returns seconds.

    >>> clock = iter([0.0, 30.0]).__next__
    >>> costs = {"naive-p0.1-seed0": 100, "naive-p0.1-seed1": 200}
    >>> progress = JobsProgress(costs, Console(), clock=clock)
    >>> progress.end(Outcome("naive-p0.1-seed0"))
    1/2 naive-p0.1-seed0: done, about 0:01:00 left
    """

    def __init__(
        self,
        costs: Mapping[str, float],
        console: Console,
        folders: Mapping[str, Path] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.costs, self.console, self.clock = costs, console, clock
        self.folders = folders or {}
        self.ended: set[str] = set()
        self.started_at, self.done_at_start = clock(), self.done()
        columns = (BarColumn(24), TextColumn("{task.percentage:.0f}%"), TimeElapsedColumn())
        self.bar = Progress(*columns, TextColumn("{task.fields[state]}"), console=console)
        self.task = self.bar.add_task("jobs", total=sum(costs.values()), state="")
        self.stop = threading.Event()
        self.watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "JobsProgress":
        if self.console.is_terminal:
            self.bar.start()
            self.watcher.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop.set()
        if self.console.is_terminal:
            self.watcher.join()
            self.bar.stop()

    def run(self, outcomes: Iterable[Outcome], failed: dict[str, str]) -> None:
        """Wait for all outcomes, show each as it arrives, and collect errors.

        Args:
            outcomes: outcomes of all jobs, such as those that `execute` yields.
            failed: receives the error of each job that failed, by the id of the job.

        Raises:
            KeyboardInterrupt: if a job was interrupted.
        """
        with self:
            for outcome in outcomes:
                if outcome.interrupted:
                    raise KeyboardInterrupt
                self.end(outcome)
                if outcome.error is not None:
                    failed[outcome.id] = outcome.error

    def done(self) -> float:
        """Return the cost of what is done."""
        return sum(
            cost * (1.0 if name in self.ended else self._reported(name)[0])
            for name, cost in self.costs.items()
        )

    def left(self) -> str:
        """Return the time left in words; nothing as long as there is nothing to estimate it by."""
        done, total = self.done(), sum(self.costs.values())
        if done <= self.done_at_start:
            return ""
        elapsed = self.clock() - self.started_at
        seconds = elapsed * (total - done) / (done - self.done_at_start)
        return f"about {timedelta(seconds=round(seconds))} left"

    def end(self, outcome: Outcome) -> None:
        """Show that a job ended."""
        self.ended.add(outcome.id)
        state = "done" if outcome.error is None else f"FAILED: {outcome.error}"
        line = f"{len(self.ended)}/{len(self.costs)} {outcome.id}: {state}, {self.left()}"
        self.console.out(line, highlight=False)

    def _reported(self, name: str) -> tuple[float, str]:
        return read_progress(self.folders[name]) if name in self.folders else (0.0, "")

    def _watch(self) -> None:
        while not self.stop.wait(0.5):
            stages = {name: self._reported(name)[1] for name in self.costs}
            running = [f"{n}: {s}" for n, s in stages.items() if s and n not in self.ended]
            state = ", ".join([self.left(), *running[:2]])
            self.bar.update(self.task, completed=self.done(), state=state)


PROGRESS_FILE = "progress.txt"


class ProgressReporter:
    """Writes how far a run is into its folder, at most once in a while.

    Args:
        folder: folder of the run.
        every: seconds between two writes.
        clock: function that returns seconds.
    """

    def __init__(
        self, folder: Path, every: float = 0.5, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.path, self.every, self.clock = folder / PROGRESS_FILE, every, clock
        self.last = -every

    def __call__(self, stage: str, share: float) -> None:
        """Write the name of the stage, and the share of the run that is done."""
        now = self.clock()
        if now - self.last >= self.every:
            self.last = now
            part = self.path.with_name(f"{PROGRESS_FILE}.part")
            part.write_text(f"{share:.4f} {stage}")
            part.replace(self.path)


def read_progress(folder: Path) -> tuple[float, str]:
    """Return the share of a run that is done, and its stage; 0 and nothing if none was written."""
    try:
        share, stage = (folder / PROGRESS_FILE).read_text().split(" ", 1)
        return min(1.0, max(0.0, float(share))), stage
    except (OSError, ValueError):
        return 0.0, ""


def execute_remaining(
    jobs: Sequence[S],
    remaining: Sequence[S],
    start: Callable[[Sequence[S]], Iterable[Outcome]],
    failed: dict[str, str],
    about: str = "",
) -> None:
    """Execute the runs of a study that are not finished, with their progress on stderr.

    Args:
        jobs: all runs of the study.
        remaining: those that are not finished.
        start: starts runs, and returns their outcomes as they end.
        failed: receives the errors of runs that fail, by their ids.
        about: what the runs are about, said first.
    """
    console, path = Console(stderr=True), jobs[0].folder.parent.parent
    done = len(jobs) - len(remaining)
    started = f"{done} runs finished, {len(remaining)} to do; folder {path}"
    console.out("; ".join(filter(None, [about, started])), highlight=False)
    if not remaining:
        return
    costs = {job.id: job.cost for job in remaining}
    folders = {job.id: job.folder for job in remaining}
    JobsProgress(costs, console, folders).run(start(remaining), failed)
