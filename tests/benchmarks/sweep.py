"""Runs an hour of a sweep with one worker and with two.

Run as `python -m tests.benchmarks.sweep` on a machine that does nothing else. Both do the same runs
of one study, in folders of their own, and take turns. What a worker costs before its first run, its
imports, counts: give it enough runs. The bar is that of one machine of two cores. Where others are
at work too, the seconds of process time tell what the ratio would be on idle cores.
"""

import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import joblib
import tyro
from joblib.externals.loky import get_reusable_executor

from configs.rl import SMALL
from oversight.rl.study import Run, declare
from oversight.rl.sweep import jobs_of, work
from oversight.runs.parallel import execute

BAR = 1.8


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """How to measure."""

    runs: int = 8
    """runs of each sweep"""
    rollouts: int = 40
    """rollouts of each run, 16,384 steps each"""
    repeats: int = 1
    """turns of each number of workers"""


def runs_of(args: Benchmark) -> list[Run]:
    """Return the runs: the default method on small networks, by seed."""
    panel = {
        "methods": ("routed",),
        "oversight_probabilities": (0.1,),
        "seeds": tuple(range(args.runs)),
    }
    steps = args.rollouts * 64 * 256
    settings = {**SMALL, "device": "cpu", "total_timesteps": steps}
    return declare("benchmark", {"settings": settings, "panels": [panel]}).runs()


def process_seconds() -> float:
    """End the workers, and return the process time of this process and of them."""
    get_reusable_executor().shutdown(wait=True)
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def sweep(runs: list[Run], workers: int) -> tuple[float, float]:
    """Sweep once in a folder of its own; return the runs an hour, and process seconds a run."""
    with tempfile.TemporaryDirectory() as folder:
        process, start = process_seconds(), time.perf_counter()
        outcomes = list(execute(work, jobs_of(runs, Path(folder)), "joblib", workers))
        seconds = time.perf_counter() - start
        process = process_seconds() - process
    assert all(outcome.error is None for outcome in outcomes), outcomes
    return len(runs) * 3600 / seconds, process / len(runs)


def main() -> None:
    """Measure both and print their figures, the ratios last."""
    args = tyro.cli(Benchmark)
    runs = runs_of(args)
    turns: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    for _ in range(args.repeats):
        for workers, rates in turns.items():
            rates.append(sweep(runs, workers))
    (one, one_cost), (two, two_cost) = (
        [median(column) for column in zip(*rates, strict=True)] for rates in turns.values()
    )
    print(f"{args.runs} runs of {args.rollouts} rollouts, {joblib.cpu_count()} cores")
    print(f"1 worker:  {one:>6,.0f} runs an hour, {one_cost:.1f} s of process time a run")
    print(f"2 workers: {two:>6,.0f} runs an hour, {two_cost:.1f} s of process time a run")
    print(f"ratio: {two / one:.2f} (bar: {BAR}); by process time {2 * one_cost / two_cost:.2f}")


if __name__ == "__main__":
    main()
