"""Environment steps a second on one core: ours, natively vectorized, beside MiniGrid.

Run as `python -m tests.benchmarks.environment`. Random actions, drawn before the clock starts;
process time, so that other work on the machine counts little; best of several rounds.
"""

import time
from dataclasses import dataclass

import gymnasium as gym
import minigrid  # noqa: F401 (registers its ids)
import numpy as np
import tyro
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

import envs  # noqa: F401 (registers our id)


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
    """Measure both environments in the same run and print their figures."""
    args = tyro.cli(Benchmark)
    native = gym.make_vec("PartialGrid-v0", num_envs=args.lanes)
    peer = SyncVectorEnv(
        [lambda: gym.make("MiniGrid-Empty-5x5-v0", disable_env_checker=True)] * args.minigrid_lanes,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    ours = steps_per_second(native, args.steps, args.rounds)
    theirs = steps_per_second(peer, args.minigrid_steps, args.rounds)
    print(f"PartialGrid-v0, native, {args.lanes} lanes: {ours:,.0f} env steps/s")
    print(f"MiniGrid-Empty-5x5-v0, SyncVectorEnv, {args.minigrid_lanes} lanes: {theirs:,.0f}")
    print(f"ratio: {ours / theirs:,.0f}")


if __name__ == "__main__":
    main()
