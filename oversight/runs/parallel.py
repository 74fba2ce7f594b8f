"""Engines: where jobs run at the same time, and how their outcomes come back, first done first.

One process at a time in the folder of a run.

How a job of a sweep ended, whatever it was.

The progress of a sweep: a line for every run that ends, a bar, and the time left.

How far runs in other processes are: each notes it in its folder, and a bar shows the whole.
"""

from dataclasses import dataclass
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, Protocol, TypeVar
import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import TracebackType
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from threading import Event, Thread


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended.

    Attributes:
        id: of the job.
        error: one line, or None if none occurred.
        interrupted: whether it was asked to stop, and can go on.
    """

    id: str
    error: str | None = None
    interrupted: bool = False


def one_line(error: Exception) -> str:
    """Return an error in one line, with its name if it is not the user's."""
    line = " ".join(str(error).split())
    if isinstance(error, ValueError):
        return line
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


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


@contextmanager
def locked(folder: Path, patience: float = 5.0) -> Iterator[None]:
    """Keep other processes out of a run; the system lifts the lock when this one dies.

    Args:
        folder: of the run.
        patience: seconds to wait for the lock, since a killed sweep's processes take one to end.

    Raises:
        ValueError: if another process keeps it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        deadline = time.monotonic() + patience
        while not _try_lock(file.fileno()):
            if time.monotonic() > deadline:
                raise ValueError(
                    f"another process is at work in {folder}: wait for its end, then start again"
                )
            time.sleep(0.1)
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class SweepProgress:
    """Shows how far a sweep is; a context in which a bar is drawn where there is a terminal.

    The time left supposes that a unit of cost takes as long as it did so far.

    Args:
        costs: of every job, by its id, in any unit, such as environment steps.
        console: where to draw.
        clock: returns seconds.

    >>> clock = iter([0.0, 30.0]).__next__
    >>> costs = {"naive-p0.1-seed0": 100, "naive-p0.1-seed1": 200}
    >>> progress = SweepProgress(costs, Console(), clock)
    >>> progress.end(Outcome("naive-p0.1-seed0"))
    1/2 naive-p0.1-seed0: done, about 0:01:00 left
    """

    def __init__(
        self,
        costs: Mapping[str, int],
        console: Console,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.costs, self.number, self.total = costs, len(costs), sum(costs.values())
        self.ended = self.done = 0
        self.console, self.clock = console, clock
        self.start = clock()
        columns = (BarColumn(24), TextColumn("{task.completed}/{task.total} runs"))
        left = TextColumn("{task.fields[left]}")
        self.bar = Progress(*columns, TimeElapsedColumn(), left, console=console)
        self.task = self.bar.add_task("runs", total=self.number, left="")

    def __enter__(self) -> "SweepProgress":
        if self.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.console.is_terminal:
            self.bar.stop()

    def end(self, outcome: Outcome) -> None:
        """Show that a run ended."""
        self.ended += 1
        self.done += self.costs[outcome.id]
        left = timedelta(seconds=round((self.clock() - self.start) * (self.total / self.done - 1)))
        time_left = f"about {left} left"
        how = "done" if outcome.error is None else f"FAILED: {outcome.error}"
        line = f"{self.ended}/{self.number} {outcome.id}: {how}, {time_left}"
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)
        self.bar.update(self.task, advance=1, left=time_left)


NOTE = "progress.txt"


class Notes:
    """Notes how far a run is, in a file of its folder; at most one in a while.

    Args:
        folder: of the run.
        every: seconds between notes.
        clock: returns seconds.
    """

    def __init__(
        self, folder: Path, every: float = 0.5, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.path, self.every, self.clock = folder / NOTE, every, clock
        self.last = -every

    def __call__(self, stage: str, share: float) -> None:
        """Note a stage, and the share of the run that is done."""
        now = self.clock()
        if now - self.last >= self.every:
            self.last = now
            part = self.path.with_name(f"{NOTE}.part")
            part.write_text(f"{share:.4f} {stage}")
            part.replace(self.path)


def noted(folder: Path) -> tuple[float, str]:
    """Return the share of a run that is done, and its stage; nothing if it noted none."""
    try:
        share, stage = (folder / NOTE).read_text().split(" ", 1)
        return min(1.0, max(0.0, float(share))), stage
    except (OSError, ValueError):
        return 0.0, ""


class RunsProgress:
    """Shows how far all runs are together; a context in which a terminal gets a bar.

    The time left supposes that what is left takes as long as what this process saw done.

    Args:
        folders: of every run, by its id.
        costs: of every run, by its id, in any unit.
        console: where to draw.
        clock: returns seconds.
    """

    def __init__(
        self,
        folders: Mapping[str, Path],
        costs: Mapping[str, float],
        console: Console,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folders, self.costs, self.console, self.clock = folders, costs, console, clock
        self.ended: set[str] = set()
        self.start, self.begin = clock(), self.done()
        columns = (BarColumn(24), TextColumn("{task.percentage:.0f}%"), TimeElapsedColumn())
        self.bar = Progress(*columns, TextColumn("{task.fields[now]}"), console=console)
        self.task = self.bar.add_task("runs", total=sum(costs.values()), now="")
        self.stop = Event()
        self.watcher = Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "RunsProgress":
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

    def done(self) -> float:
        """Return the cost of all that is done."""
        return sum(
            cost * (1.0 if name in self.ended else noted(self.folders[name])[0])
            for name, cost in self.costs.items()
        )

    def left(self) -> str:
        """Return the time left in words, once there is something to judge by."""
        done, total = self.done(), sum(self.costs.values())
        if done <= self.begin:
            return ""
        seconds = (self.clock() - self.start) * (total - done) / (done - self.begin)
        return f"about {timedelta(seconds=round(seconds))} left"

    def end(self, outcome: Outcome) -> None:
        """Show that a run ended."""
        self.ended.add(outcome.id)
        how = "done" if outcome.error is None else f"FAILED: {outcome.error}"
        line = f"{len(self.ended)}/{len(self.costs)} {outcome.id}: {how}, {self.left()}"
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _watch(self) -> None:
        while not self.stop.wait(0.5):
            running = {name: noted(self.folders[name])[1] for name in self.folders}
            words = [f"{n}: {s}" for n, s in running.items() if s and n not in self.ended]
            now = ", ".join([self.left(), *words[:2]])
            self.bar.update(self.task, completed=self.done(), now=now)
