"""Training steps a second, environment and learning together, beside stock SB3 PPO.

Run as `python -m tests.benchmarks.training`. The peer is what one writes first: SB3's PPO with its
defaults on MiniGrid-Empty-5x5-v0, 8 lanes of DummyVecEnv, and the view of 7 x 7 cells flattened,
which is smaller than what FlatObsWrapper gives. Ours is RoutedPPO on PartialGrid-v0 with the
settings of this project. They take turns; the figures are medians over the turns.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

import gymnasium as gym
import torch
import tyro
from gymnasium.wrappers import FlattenObservation
from minigrid.wrappers import ImgObsWrapper
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

from oversight.rl.agent import make_agent
from oversight.rl.config import TrainConfig

PEER, SHIPPED, SMALL = "SB3 PPO, MiniGrid", "RoutedPPO, as shipped", "RoutedPPO, (64, 64)"
BARS = {SHIPPED: 8, SMALL: 25}


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """How to measure."""

    threads: int = 2
    """threads of PyTorch"""
    repeats: int = 3
    """turns of each agent"""
    rollouts: int = 4
    """rollouts of ours in a turn, each as many steps as the peer's one"""


def peer() -> PPO:
    """Return SB3's PPO as it comes."""
    view: Callable[[gym.Env], gym.Env] = ImgObsWrapper

    def make() -> gym.Env:
        return FlattenObservation(view(gym.make("MiniGrid-Empty-5x5-v0")))

    return PPO("MlpPolicy", DummyVecEnv([make] * 8), seed=0, device="cpu")


def ours(threads: int, hidden_sizes: tuple[int, ...] | None = None) -> PPO:
    """Return RoutedPPO as a training run builds it."""
    config = TrainConfig(device="cpu", threads=threads)
    if hidden_sizes is not None:
        config = replace(config, ppo=replace(config.ppo, hidden_sizes=hidden_sizes))
    return make_agent(config)


def steps_per_second(agent: PPO, rollouts: int) -> tuple[float, float]:
    """Train for some rollouts; return the steps per second of wall time and of process time."""
    steps = rollouts * agent.n_steps * agent.n_envs
    wall, process = time.perf_counter(), time.process_time()
    agent.learn(steps, reset_num_timesteps=False)
    return steps / (time.perf_counter() - wall), steps / (time.process_time() - process)


def main() -> None:
    """Measure all agents in the same run and print their figures, the ratios last."""
    args = tyro.cli(Benchmark)
    torch.set_num_threads(args.threads)
    agents = {PEER: peer(), SHIPPED: ours(args.threads), SMALL: ours(args.threads, (64, 64))}
    rollouts = {name: 1 if name == PEER else args.rollouts for name in agents}
    for name in (SHIPPED, SMALL):
        agents[name].learn(agents[name].n_steps * agents[name].n_envs)  # warm up
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in agents}
    for _ in range(args.repeats):
        for name, agent in agents.items():
            rates[name].append(steps_per_second(agent, rollouts[name]))
    medians = {
        name: tuple(median(column) for column in zip(*rows, strict=True))
        for name, rows in rates.items()
    }
    print(f"training steps a second, {args.threads} threads, median of {args.repeats}")
    for name, (wall, process) in medians.items():
        print(f"{name:<22} wall {wall:>10,.0f}   process {process:>10,.0f}")
    for name, bar in BARS.items():
        wall, process = (a / b for a, b in zip(medians[name], medians[PEER], strict=True))
        print(f"ratio, {name}: wall {wall:.1f}, process {process:.1f} (bar: {bar})")


if __name__ == "__main__":
    main()
