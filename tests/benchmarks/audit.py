"""What the live audit of gradients costs a training run, at its default interval.

Run as `python -m tests.benchmarks.audit`. An agent trains with an audit at the first update of each
interval, as the command does with `--audit`, and the audits are timed within that. Two runs with
and without it, turn by turn, differ by more than an audit takes. Medians of process time, which
other work on the machine disturbs less than wall time.
"""

import time
from dataclasses import dataclass
from statistics import median

import torch
import tyro

from oversight.rl.agent import make_agent
from oversight.rl.callbacks import GradientAudit
from oversight.rl.config import TrainConfig, default_config


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """How to measure."""

    env: str = "PartialGrid-v0"
    """environment"""
    threads: int = 1
    """threads of PyTorch"""
    repeats: int = 5
    """intervals"""


class TimedAudit(GradientAudit):
    """The audit of a run, and the process time of each."""

    def __init__(self, every: int) -> None:
        super().__init__(every)
        self.seconds: list[float] = []

    def _on_rollout_end(self) -> None:
        start = time.process_time()
        super()._on_rollout_end()
        self.seconds.append(time.process_time() - start)


def main() -> None:
    """Train an agent, and print the share of its time that audits take."""
    args = tyro.cli(Benchmark)
    torch.set_num_threads(args.threads)
    config, every = default_config(args.env), TrainConfig().audit_every
    agent = make_agent(config)
    agent.learn(config.rollout)  # warms up
    audits, intervals = [], []
    for _ in range(args.repeats):
        audit, start = TimedAudit(every), time.process_time()
        agent.learn(every * config.rollout, audit)
        intervals.append(time.process_time() - start)
        audits.append(sum(audit.seconds))
    one, interval = median(audits), median(intervals)
    print(f"{args.env}: {every} updates of {config.rollout} steps, {args.threads} threads")
    print(f"audit {1e3 * one:.1f} ms, interval {interval:.2f} s")
    print(f"overhead: {one / (interval - one):.2%} (bar: 5%)")


if __name__ == "__main__":
    main()
