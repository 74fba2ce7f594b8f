"""Environment steps a second on one core: PartialGrid-v0, its plain game, and MiniGrid.

Run as `python -m tests.benchmarks.environment`. Actions are random and drawn before the clock
starts. Process time is measured, so that other work on the machine counts little, and the fastest
of several rounds counts. The bar: PartialGrid-v0 with its oversight takes 5M steps a second.
"""

import time
from dataclasses import dataclass

import gymnasium as gym
import minigrid  # noqa: F401 (registers its ids)
import numpy as np
import tyro
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from envs import GridVectorEnv

BAR = 5_000_000  # steps a second of PartialGrid-v0


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """How long to measure."""

    lanes: int = 2048
    """lanes of the native vector environment"""
    minigrid_lanes: int = 32
    """lanes of MiniGrid's SyncVectorEnv"""
    steps: int = 1000
    """steps a round of the native environment"""
    minigrid_steps: int = 100
    """steps a round of MiniGrid"""
    rounds: int = 7
    """rounds, of which the fastest counts"""


def steps_per_second(env: VectorEnv, steps: int, rounds: int) -> float:
    """Measure the env steps a second of the fastest round."""
    num_actions = env.single_action_space.n  # type: ignore[attr-defined]
    actions = np.random.default_rng(0).integers(num_actions, size=(steps, env.num_envs))
    env.reset(seed=0)
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        for row in actions:
            env.step(row)
        seconds.append(time.process_time() - start)
    return steps * env.num_envs / min(seconds)


def main() -> None:
    """Measure all environments in the same run and print their figures."""
    args = tyro.cli(Benchmark)
    peer = SyncVectorEnv(
        [lambda: gym.make("MiniGrid-Empty-5x5-v0", disable_env_checker=True)] * args.minigrid_lanes,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    overseen = gym.make_vec("PartialGrid-v0", num_envs=args.lanes)
    ours = steps_per_second(overseen, args.steps, args.rounds)
    plain = steps_per_second(GridVectorEnv(args.lanes), args.steps, args.rounds)
    theirs = steps_per_second(peer, args.minigrid_steps, args.rounds)
    print(f"PartialGrid-v0, {args.lanes} lanes: {ours:,.0f} steps/s (bar: {BAR:,})")
    print(f"its plain game, {args.lanes} lanes: {plain:,.0f} steps/s, ratio {plain / ours:.2f}")
    print(
        f"MiniGrid-Empty-5x5-v0, {args.minigrid_lanes} lanes of SyncVectorEnv: {theirs:,.0f} "
        f"steps/s, ratio {ours / theirs:,.0f}"
    )


if __name__ == "__main__":
    main()
