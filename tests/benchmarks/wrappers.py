"""What the wrappers cost: environment steps with and without them, in the same run.

Run as `python -m tests.benchmarks.wrappers`. Random actions, drawn before the clock starts;
process time; rounds of the two alternate, and their medians count.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import gymnasium as gym
import numpy as np
import tyro

import envs
from envs.wrappers import vector


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """How long to measure."""

    lanes: int = 2048
    """lanes of the native vector environments"""
    steps: int = 1000
    """steps a round of a vector environment"""
    single_steps: int = 10_000
    """steps a round of a single environment"""
    rounds: int = 15
    """rounds of each side"""


Round = Callable[[], None]


def vector_round(env: gym.vector.VectorEnv, steps: int) -> Round:
    """Return a function that takes some steps in every lane."""
    actions = np.random.default_rng(0).integers(2, size=(steps, env.num_envs))
    env.reset(seed=0)

    def play() -> None:
        for row in actions:
            env.step(row)

    return play


def single_round(env: gym.Env, steps: int) -> Round:
    """Return a function that takes some steps, with resets between episodes."""
    actions = np.random.default_rng(0).integers(2, size=steps).tolist()
    env.reset(seed=0)

    def play() -> None:
        env.reset(seed=0)
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    return play


def seconds(play: Round) -> float:
    """Time one round."""
    start = time.process_time()
    play()
    return time.process_time() - start


def compare(name: str, bare: Round, wrapped: Round, steps: int, rounds: int) -> None:
    """Time both in turn, and print their steps a second and the ratio of their times."""
    pairs = [(seconds(bare), seconds(wrapped)) for _ in range(rounds)]
    plain, watched = (median(side) for side in zip(*pairs, strict=True))
    print(
        f"{name}: {steps / plain:,.0f} bare, {steps / watched:,.0f} wrapped env steps/s, "
        f"ratio of times {watched / plain:.3f}"
    )


def oversight(args: Benchmark) -> None:
    """Measure PartialOversight, native and single."""
    for name in ("CartPole-v1", "PartialGrid-v0"):
        sides = [gym.make_vec(name, num_envs=args.lanes) for _ in range(2)]
        bare, wrapped = (
            vector_round(env, args.steps) for env in (sides[0], vector.PartialOversight(sides[1]))
        )
        compare(
            f"PartialOversight, {name}, native, {args.lanes} lanes",
            *(bare, wrapped, args.steps * args.lanes, args.rounds),
        )
    single = gym.make("CartPole-v1"), envs.PartialOversight(gym.make("CartPole-v1"))
    bare, wrapped = (single_round(env, args.single_steps) for env in single)
    compare("PartialOversight, CartPole-v1, single", bare, wrapped, args.single_steps, args.rounds)


def record(args: Benchmark, folder: Path) -> None:
    """Measure RecordTruth, native and single; what it writes is 24 bytes a step."""
    sides = [gym.make_vec("PartialGrid-v0", args.lanes, reward="true") for _ in range(2)]
    recorded = vector.RecordTruth(sides[1], folder / "native.ledger")
    bare, wrapped = (vector_round(env, args.steps) for env in (sides[0], recorded))
    compare(
        f"RecordTruth, PartialGrid-v0, native, {args.lanes} lanes",
        *(bare, wrapped, args.steps * args.lanes, args.rounds),
    )
    recorded.close()
    single = envs.RecordTruth(gym.make("CartPole-v1"), folder / "single.ledger")
    bare, wrapped = (
        single_round(env, args.single_steps) for env in (gym.make("CartPole-v1"), single)
    )
    compare("RecordTruth, CartPole-v1, single", bare, wrapped, args.single_steps, args.rounds)
    single.close()


def main() -> None:
    """Measure every pair and print it."""
    args = tyro.cli(Benchmark)
    oversight(args)
    with TemporaryDirectory() as folder:
        record(args, Path(folder))


if __name__ == "__main__":
    main()
