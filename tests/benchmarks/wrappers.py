"""What the wrappers cost: as a share of training, and a step with and without them.

Run as `python -m tests.benchmarks.wrappers`. Process time is measured, rounds of both sides
alternate, and their medians count. The bars: `PartialOversight` takes at most 2% of the time of
the default training run, and a single wrapped CartPole step at most 1.25 times a bare one.
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
from envs import GridVectorEnv
from envs.wrappers import vector
from oversight.rl.agent import make_agent
from oversight.rl.config import TrainConfig


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
    rollouts: int = 20
    """rollouts of the default training run"""


Round = Callable[[], object]


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
    bare_time, wrapped_time = (median(side) for side in zip(*pairs, strict=True))
    print(
        f"{name}: {steps / bare_time:,.0f} bare, {steps / wrapped_time:,.0f} wrapped env steps/s, "
        f"ratio of times {wrapped_time / bare_time:.3f}"
    )


def share_of_training(args: Benchmark) -> None:
    """Measure PartialOversight in the default training run, beside the plain game's reward."""
    config = TrainConfig(device="cpu")
    agent = make_agent(config)
    agent.learn(config.rollout)  # warm up
    training = seconds(lambda: agent.learn(args.rollouts * config.rollout))
    steps = args.rollouts * config.ppo.n_steps
    plain = vector_round(GridVectorEnv(config.num_envs), steps)
    overseen = vector_round(gym.make_vec(config.env, num_envs=config.num_envs), steps)
    pairs = [(seconds(plain), seconds(overseen)) for _ in range(args.rounds)]
    bare, wrapped = (median(side) for side in zip(*pairs, strict=True))
    print(
        f"PartialOversight in training, {args.rollouts} rollouts: {training:.2f} s of training, "
        f"{bare:.3f} s of plain steps, {wrapped:.3f} s of wrapped steps, "
        f"share {(wrapped - bare) / training:.2%} (bar: 2%)"
    )


def oversight(args: Benchmark) -> None:
    """Measure PartialOversight around vector environments and a single one."""
    lanes = f"native, {args.lanes} lanes"
    sides = [gym.make_vec("CartPole-v1", num_envs=args.lanes) for _ in range(2)]
    pairs = {
        f"CartPole-v1, {lanes}": (sides[0], vector.PartialOversight(sides[1])),
        f"PartialGrid-v0, {lanes}": (
            GridVectorEnv(args.lanes),
            gym.make_vec("PartialGrid-v0", num_envs=args.lanes),
        ),
    }
    for name, pair in pairs.items():
        bare, wrapped = (vector_round(env, args.steps) for env in pair)
        count = args.steps * args.lanes
        compare(f"PartialOversight, {name}", bare, wrapped, count, args.rounds)
    single = gym.make("CartPole-v1"), envs.PartialOversight(gym.make("CartPole-v1"))
    bare, wrapped = (single_round(env, args.single_steps) for env in single)
    name = "PartialOversight, CartPole-v1, single (bar: 1.25)"
    compare(name, bare, wrapped, args.single_steps, args.rounds)


def record(args: Benchmark, folder: Path) -> None:
    """Measure RecordTruth, native and single; what it writes is 24 bytes a step."""
    sides = [GridVectorEnv(args.lanes) for _ in range(2)]
    recorded = vector.RecordTruth(sides[1], folder / "native.ledger")
    bare, wrapped = (vector_round(env, args.steps) for env in (sides[0], recorded))
    compare(
        f"RecordTruth, plain grid, native, {args.lanes} lanes",
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
    share_of_training(args)
    oversight(args)
    with TemporaryDirectory() as folder:
        record(args, Path(folder))


if __name__ == "__main__":
    main()
