"""What routing costs in one update of PPO.

Run as `python -m tests.benchmarks.routing`. Two equal agents train on equal rollouts, turn by turn;
one routes, the other has an identity where each gate was and skips no target. Medians of wall time
and of process time, which other work on the machine disturbs less.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

import torch
import tyro
from torch import nn

from agents import RoutedPPO
from oversight.rl.agent import make_agent
from oversight.rl.config import TrainConfig
from oversight.routing import Gate


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """How to measure."""

    threads: int = 2
    """threads of PyTorch"""
    repeats: int = 15
    """updates of each agent"""
    rollouts: int = 1
    """rollouts, and updates, before; after 20 most samples are hidden, as in most of a run"""
    hidden_sizes: tuple[int, ...] = TrainConfig().ppo.hidden_sizes
    """widths of the hidden layers"""


def trained(args: Benchmark) -> RoutedPPO:
    """Return an agent after some rollouts and updates."""
    config = TrainConfig(device="cpu", threads=args.threads)
    ppo = replace(config.ppo, hidden_sizes=args.hidden_sizes)
    return make_agent(replace(config, ppo=ppo)).learn(args.rollouts * config.rollout)


def stop_routing(agent: RoutedPPO) -> RoutedPPO:
    """Replace each gate by an identity; the losses stay the same."""
    for module in list(agent.policy.modules()):
        for name, child in module.named_children():
            if isinstance(child, Gate):
                setattr(module, name, nn.Identity())
    agent.routed = False
    return agent


def seconds(act: Callable[[], object]) -> tuple[float, float]:
    """Return the wall time and the process time that an act takes."""
    wall, process = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - wall, time.process_time() - process


def main() -> None:
    """Measure both agents and print their figures, the ratios last."""
    args = tyro.cli(Benchmark)
    torch.set_num_threads(args.threads)
    agents = {"routed": trained(args), "unrouted": stop_routing(trained(args))}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in agents}
    for _ in range(args.repeats + 1):
        for name, agent in agents.items():
            times[name].append(seconds(agent.train))
    # the first update warms up
    medians = {
        name: [median(column) for column in zip(*rows[1:], strict=True)]
        for name, rows in times.items()
    }
    ppo = agents["routed"]
    updates = ppo.n_epochs * ppo.n_steps * ppo.n_envs // ppo.batch_size
    print(f"one train(): {updates} minibatches of {ppo.batch_size}, {args.threads} threads")
    for name, (wall, process) in medians.items():
        print(f"{name:<10} wall {wall * 1e3:8.1f} ms   process {process * 1e3:8.1f} ms")
    wall, process = (a / b for a, b in zip(medians["routed"], medians["unrouted"], strict=True))
    print(f"ratio: wall {wall:.3f}, process {process:.3f} (bar: 1.05)")


if __name__ == "__main__":
    main()
