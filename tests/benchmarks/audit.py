"""What the live audit of gradients costs a training run, at its default interval.

Run as `python -m tests.benchmarks.audit`. Two equal agents train turn by turn, interval by
interval; one is audited at its first update of each, as the command does with `--audit`. Medians of
process time, which other work on the machine disturbs less than wall time.
"""

import time
from dataclasses import dataclass
from statistics import median

import torch
import tyro

from agents import RoutedPPO
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
    repeats: int = 7
    """intervals of each agent"""


def seconds(agent: RoutedPPO, steps: int, every: int | None) -> tuple[float, float]:
    """Return the wall time and the process time of training for some steps."""
    callback = None if every is None else GradientAudit(every)
    wall, process = time.perf_counter(), time.process_time()
    agent.learn(steps, callback, reset_num_timesteps=False)
    return time.perf_counter() - wall, time.process_time() - process


def main() -> None:
    """Train both agents and print their times, the ratio last."""
    args = tyro.cli(Benchmark)
    torch.set_num_threads(args.threads)
    config = default_config(args.env)
    every = TrainConfig().audit_every
    agents = {"audited": make_agent(config), "plain": make_agent(config)}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in agents}
    for _ in range(args.repeats + 1):
        for name, agent in agents.items():
            audit = every if name == "audited" else None
            times[name].append(seconds(agent, every * config.rollout, audit))
    medians = {  # the first interval warms up
        name: [median(column) for column in zip(*rows[1:], strict=True)]
        for name, rows in times.items()
    }
    print(f"{args.env}: {every} updates of {config.rollout} steps, {args.threads} threads")
    for name, (wall, process) in medians.items():
        print(f"{name:<8} wall {wall:7.3f} s   process {process:7.3f} s")
    wall, process = (a / b for a, b in zip(medians["audited"], medians["plain"], strict=True))
    print(f"ratio: wall {wall:.3f}, process {process:.3f} (bar: 1.05)")


if __name__ == "__main__":
    main()
