"""The progress of a sweep: a line for every run that ends, a bar, and the time left."""

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from oversight.sweeps.outcome import Outcome


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
