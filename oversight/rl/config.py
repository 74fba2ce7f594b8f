"""The settings of a training run, and its environment and agent made from them."""

import os
from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import gymnasium as gym
import numpy as np
import torch
import tyro
from gymnasium.vector import VectorEnv
from stable_baselines3.common.vec_env import VecEnv

import envs  # noqa: F401 (registers the ids)
from agents import METHODS, Method, RoutedPPO, method
from agents.methods import Reward
from agents.ppo import PPOConfig
from agents.ppo_arguments import require_batch_size, require_rollout
from envs import IDS
from envs.gridworld import (
    AGENT,
    NUM_PLANES,
    OVERSEEN,
    GridConfig,
    NoiseConfig,
    noisy_overseer,
)
from envs.observers.observer import check_probability

METHOD_HELP = "\n".join(
    ["How the agent learns.", *(f"{name}: {each.summary}" for name, each in METHODS.items())]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Train an agent under partial oversight, and evaluate it with and without an overseer."""

    env: str = "PartialGrid-v0"
    """Id of an environment of this project."""
    method: Annotated[str, tyro.conf.arg(help=METHOD_HELP)] = "routed"
    oversight_probability: float = 0.1
    """Probability that a terminal square is overseen."""
    total_timesteps: int = 1_400_000
    """Environment steps of all lanes together; rounded up to whole rollouts."""
    num_envs: int = 256
    """Number of lanes of the vector environment."""
    seed: int = 0
    """Seed of all randomness; runs of the same seed are equal bit for bit."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device of the networks; auto takes a GPU if there is one."""
    threads: int = 1
    """CPU threads of PyTorch. Sums depend on their order, so that only runs of the same number of
    threads are equal bit for bit."""
    run_dir: Path | None = None
    """Folder of the run; by default a new one under runs/."""
    eval_every: int = 10
    """Rollouts between evaluations, which do not affect training."""
    eval_episodes: int = 1024
    """Episodes of each evaluation during training."""
    final_episodes: int = 4096
    """Episodes of the evaluation at the end."""
    held_out: float = 0.25
    """Share of all episodes that are held out to select a checkpoint by their observed reward. They
    are played in addition to those of training, which they do not affect."""
    checkpoint_every: int = 5
    """Rollouts between checkpoints, from which --resume continues."""
    grid: GridConfig = field(default_factory=GridConfig)
    """The board."""
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    """Errors of the overseer. Training and checkpoint selection use the noisy reports; evaluation
    and oracles use the true rewards."""
    ppo: PPOConfig = field(default_factory=PPOConfig)
    """The learner."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot run, before anything is written."""
        method(self.method)  # refuses an unknown name
        object.__setattr__(self, "env", known_id(self.env))
        grid = self.grid
        check_probability(self.oversight_probability, "oversight_probability")
        for name in ("total_timesteps", "num_envs", "eval_every", "checkpoint_every"):
            require_at_least_one(name, getattr(self, name))
        require_threads(self.threads)
        for name in ("eval_episodes", "final_episodes"):
            require_at_least_one(name, getattr(self, name))
        if not 0 <= self.held_out <= 0.9:
            raise ValueError(f"held_out must lie in [0, 0.9], got {self.held_out}")
        require_seed(self.seed)
        require_batch(self.ppo, self.num_envs)
        require_planes(self.ppo)
        if self.noise.unseen_rows > grid.size:
            raise ValueError(
                f"noise.unseen_rows must be at most the {grid.size} rows of the board, "
                f"got {self.noise.unseen_rows}"
            )
        if not self.noise.noiseless and grid.flag == "hidden":
            raise ValueError(
                "noise needs grid.flag visible, since the overseer who errs reads that plane: "
                "leave the noise out, or hide the plane from the modules by --ppo.masked-channels 3"
            )

    @property
    def effective_noise(self) -> NoiseConfig:
        """The errors that reach the method: none if it learns from the true reward."""
        return NoiseConfig() if method(self.method).reward == "true" else self.noise

    @property
    def rollout(self) -> int:
        """Environment steps between two updates."""
        return self.ppo.n_steps * self.num_envs


def known_id(env: str) -> str:
    """Return the id of an environment of this project, without Gymnasium's module prefix.

    Raises:
        ValueError: if there is no such environment.

    >>> known_id("envs:PartialGrid-v0")
    'PartialGrid-v0'
    """
    name = env.removeprefix("envs:")
    if name not in IDS:
        close = get_close_matches(name, IDS, n=1, cutoff=0.4)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"unknown environment {env!r}: {hint}choose from {', '.join(IDS)}")
    return name


def require_planes(ppo: PPOConfig) -> None:
    """Raise a ValueError for a channel that the observations of the grid do not have."""
    given = {
        "masked_channels": ppo.masked_channels,
        "agent_channel": () if ppo.agent_channel is None else (ppo.agent_channel,),
    }
    for name, planes in given.items():
        if not all(0 <= plane < NUM_PLANES for plane in planes):
            raise ValueError(
                f"ppo.{name} must name planes of the grid, 0 to {NUM_PLANES - 1}, got {planes}"
            )


def require_at_least_one(name: str, value: int) -> None:
    """Raise a ValueError for a count below one."""
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")


MAX_THREADS = 1024
"""More threads than this end the process, as the system does not start them."""


def require_threads(threads: int) -> None:
    """Raise a ValueError for a number of threads that PyTorch cannot start."""
    if not 1 <= threads <= MAX_THREADS:
        raise ValueError(f"threads must be at least 1 and at most {MAX_THREADS}, got {threads}")


def require_memory(config: TrainConfig) -> None:
    """Raise a ValueError for rollouts whose observations do not fit into this machine's memory.

    The rollout buffer holds them twice while it is flattened. Without this check the system would
    end the process, or other ones.
    """
    floats = 2 * config.rollout * NUM_PLANES * config.grid.size**2
    needed = floats * np.dtype(np.float32).itemsize
    present = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > present:
        raise ValueError(
            f"a rollout of ppo.n_steps {config.ppo.n_steps} x num_envs {config.num_envs} needs "
            f"{needed / 2**30:,.0f} GiB, this machine has {present / 2**30:,.0f} GiB of memory: "
            "lower one of them, or grid.size"
        )


def require_batch(ppo: PPOConfig, num_envs: int) -> None:
    """Raise a ValueError for a batch that is larger than a rollout, or cannot be normalized."""
    require_batch_size(ppo.batch_size, ppo.advantage_normalization, "ppo.batch_size")
    require_rollout(ppo.batch_size, ppo.n_steps, num_envs, "ppo.batch_size")


def require_seed(seed: int) -> None:
    """Raise a ValueError for a seed that not every generator accepts."""
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must lie in [0, 2**32), got {seed}")


TRAINING, EVALUATION, SELECTION, HELD_OUT = 1, 2, 3, 4
"""Streams of random numbers: training, evaluation during training, selection of a checkpoint, and
evaluation of the selected one on levels that no selection has used."""


def make_env(config: TrainConfig, num_envs: int, reward: Reward) -> VectorEnv[Any, Any, Any]:
    """Return the vector environment of a run, paying the reward that its user may see.

    Where the overseer errs, an observed step pays and shows what the overseer reports.
    """
    noiseless = reward == "true" or config.effective_noise.noiseless
    return gym.make_vec(
        config.env,
        num_envs,
        size=config.grid.size,
        horizon=config.grid.horizon,
        flag=config.grid.flag,
        oversight_probability=config.oversight_probability,
        reward=reward,
        observer=OVERSEEN if noiseless else noisy_overseer(config.effective_noise),
    )


def make_agent(config: TrainConfig) -> RoutedPPO:
    """Return an untrained agent in the training environment of its method."""
    env = make_env(config, config.num_envs, method(config.method).reward)
    chosen, ppo = method(config.method), config.ppo
    chance = config.oversight_probability * (1 - config.effective_noise.dropped)
    if ppo.propensity is None and chance > 0:
        ppo = replace(ppo, propensity=chance)
    if ppo.agent_channel is None:
        ppo = replace(ppo, agent_channel=AGENT)
    return make_learner(env, chosen, ppo, config.seed, config.device)


def make_learner(
    env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any] | VecEnv,
    chosen: Method,
    ppo: PPOConfig,
    seed: int,
    device: str = "auto",
) -> RoutedPPO:
    """Return an untrained agent in an environment that pays the reward of its method."""
    settings = asdict(ppo)
    rate, anneal = settings.pop("learning_rate"), settings.pop("anneal")
    network = {name: settings.pop(name) for name in ("hidden_sizes", "masked_channels")}
    agent = RoutedPPO(
        "MotivationPolicy",
        env,
        chosen,
        learning_rate=(lambda remaining: rate * remaining) if anneal else rate,
        policy_kwargs=network,
        seed=seed,
        device=device,
        **settings,
    )
    assert agent.env is not None
    agent.env.seed(stream_seed(seed, TRAINING))
    return agent


def require_device(device: str) -> None:
    """Raise a ValueError if the device is a GPU and there is none."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device cuda was asked for, but PyTorch sees no GPU: use auto or cpu")


def stream_seed(seed: int, *stream: int) -> int:
    """Return the seed of one stream of random numbers, unrelated to those of other runs.

    Lane i of a vector environment uses the seed plus i, so that neighboring seeds would share most
    of their levels.
    """
    return int(np.random.SeedSequence([seed, *stream]).generate_state(1)[0])
