"""Environment steps a second on one core: Procgen's games, whose goal is moved at every reset.

Run as `python -m tests.benchmarks.procgen`, where Procgen is installed. Actions are random and
process time is measured, as in `tests.benchmarks.environment`; the fastest round counts.
"""

import time
from dataclasses import dataclass

import gymnasium as gym
import tyro

import envs  # noqa: F401 (registers the ids)
from envs.procgen import PROCGEN
from tests.benchmarks.environment import steps_per_second


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """How long to measure."""

    lanes: int = 64
    """lanes of the vector environment"""
    steps: int = 300
    """steps a round"""
    rounds: int = 5
    """rounds, of which the fastest counts"""


def main() -> None:
    """Measure each game and difficulty on test levels, and the resets alone."""
    args = tyro.cli(Benchmark)
    for name in PROCGEN:
        for mode in ("easy", "hard"):
            env = gym.make_vec(
                name, num_envs=args.lanes, distribution="test", distribution_mode=mode
            )
            speed = steps_per_second(env, args.steps, args.rounds)
            start = time.process_time()
            for _ in range(args.rounds):
                env.reset()
            each = (time.process_time() - start) / (args.rounds * args.lanes)
            print(f"{name} {mode}: {speed:,.0f} steps/s, {1e3 * each:.2f} ms a reset")
            env.close()


if __name__ == "__main__":
    main()
