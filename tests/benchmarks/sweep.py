"""Runs an hour of a sweep with one worker and with two.

Run as `python -m tests.benchmarks.sweep` on a machine that does nothing else. Both do the same runs
of one study, in folders of their own, and take turns. What a worker costs before its first run, its
imports, counts: give it enough runs. The bar is that of one machine of two cores.
"""

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import joblib
import tyro

from configs import rl
from oversight.study import Panel, Run, Study
from oversight.sweeps.engines import execute
from oversight.sweeps.job import work
from oversight.sweeps.results import jobs_of

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
    settings = replace(rl.small(), device="cpu", total_timesteps=args.rollouts * 64 * 256)
    panel = Panel(
        methods=("routed",), oversight_probabilities=(0.1,), seeds=tuple(range(args.runs))
    )
    return Study(name="benchmark", settings=settings, panels=(panel,)).runs()


def runs_per_hour(runs: list[Run], workers: int) -> float:
    """Sweep once in a folder of its own, and return the runs an hour."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        outcomes = list(execute(work, jobs_of(runs, Path(folder)), "joblib", workers))
        seconds = time.perf_counter() - start
    assert all(outcome.error is None for outcome in outcomes), outcomes
    return len(runs) * 3600 / seconds


def main() -> None:
    """Measure both and print their figures, the ratio last."""
    args = tyro.cli(Benchmark)
    runs = runs_of(args)
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(args.repeats):
        for workers, found in rates.items():
            found.append(runs_per_hour(runs, workers))
    print(f"{args.runs} runs of {args.rollouts} rollouts, {joblib.cpu_count()} cores")
    for workers, found in rates.items():
        print(f"workers {workers}: {median(found):,.0f} runs an hour")
    print(f"ratio: {median(rates[2]) / median(rates[1]):.2f} (bar: {BAR})")


if __name__ == "__main__":
    main()
