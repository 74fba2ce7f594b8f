"""Environment steps a second of every grid world on one core, and of MiniGrid.

Run as `python -m tests.benchmarks.worlds`. It measures as `tests.benchmarks.environment` does,
observations and resets included, with random actions on levels of training and on test levels.
"""

from dataclasses import dataclass

import gymnasium as gym
import minigrid  # noqa: F401 (registers its ids)
import tyro
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from envs.registration import register
from envs.worlds import WORLDS
from tests.benchmarks.environment import steps_per_second

BAR = 200_000  # steps a second of every world


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """How long to measure."""

    lanes: int = 1024
    """lanes of the native vector environments"""
    minigrid_lanes: int = 32
    """lanes of MiniGrid's SyncVectorEnv"""
    steps: int = 200
    """steps a round of the native environments"""
    minigrid_steps: int = 100
    """steps a round of MiniGrid"""
    rounds: int = 3
    """rounds, of which the fastest counts"""


def main() -> None:
    """Measure all worlds in the same run and print their figures."""
    args = tyro.cli(Benchmark)
    register()
    peer = SyncVectorEnv(
        [lambda: gym.make("MiniGrid-Empty-8x8-v0", disable_env_checker=True)] * args.minigrid_lanes,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    theirs = steps_per_second(peer, args.minigrid_steps, args.rounds)
    print(f"MiniGrid-Empty-8x8-v0, {args.minigrid_lanes} lanes of SyncVectorEnv: {theirs:,.0f}")
    print(f"{args.lanes} lanes of (bar: {BAR:,} steps/s)")
    for name in WORLDS:
        for levels in ("train", "test"):
            env = gym.make_vec(name, num_envs=args.lanes, distribution=levels)
            ours = steps_per_second(env, args.steps, args.rounds)
            print(f"  {name}, {levels} levels: {ours:,.0f} steps/s, ratio {ours / theirs:,.0f}")


if __name__ == "__main__":
    main()
