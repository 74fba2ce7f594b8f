"""How far runs in other processes are: each notes it in its folder, and a bar shows the whole."""

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from oversight.sweeps.outcome import Outcome

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
