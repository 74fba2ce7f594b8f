"""The settings of a training run, and their defaults for each kind of environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro

from agents import METHODS, method
from agents.ppo import PPOConfig
from agents.ppo_arguments import require_batch_size, require_rollout
from envs.gridworld import NUM_PLANES, GridConfig, NoiseConfig
from envs.procgen import PROCGEN
from envs.worlds import WORLDS
from oversight.rl.environment import PARTIAL_GRID, EnvironmentConfig
from oversight.rl.expressions import load_function
from oversight.runs.cli import Values, override, parse_part
from oversight.runs.settings import ADDED_LATER, COUNT, SEED, THREADS, Numbers, require_number

NUMBERS = {
    **dict.fromkeys(
        ("total_timesteps", "num_envs", "eval_every", "checkpoint_every", "audit_every"), COUNT
    ),
    **dict.fromkeys(("eval_episodes", "final_episodes"), COUNT),
    "threads": THREADS,
    "held_out": Numbers("a number in [0, 0.9]", lambda value: 0 <= value <= 0.9),
    "seed": SEED,
}
"""The numbers that each setting of a run may be."""

METHOD_HELP = "\n".join(
    ["How the agent learns.", *(f"{name}: {each.summary}" for name, each in METHODS.items())]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig(EnvironmentConfig):
    """Train an agent under partial oversight, and evaluate it (--env ID --help: its defaults)."""

    method: Annotated[str, tyro.conf.arg(help=METHOD_HELP)] = "routed"
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
    audit: bool = field(default=False, metadata=ADDED_LATER)
    """Whether TensorBoard also shows the gradient that each route sends to each target, as the
    scalars audit/ROUTE/TARGET. It does not affect training."""
    audit_every: int = field(default=20, metadata=ADDED_LATER)
    """Updates from one such audit to the next."""
    outcome: str | None = None
    """Function that names how an episode ended, as module:function. It takes (observation, reward,
    terminated, truncated, info) of the last step, with the true reward, and returns a word such as
    goal or proxy, or None. Only evaluation calls it."""
    grid: GridConfig = field(default_factory=GridConfig)
    """The board of PartialGrid-v0."""
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    """Errors of the overseer of PartialGrid-v0. Training and checkpoint selection use the noisy
    reports; evaluation and oracles use the true rewards."""
    ppo: PPOConfig = field(default_factory=PPOConfig)
    """The learner."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot run, before anything is written."""
        method(self.method)  # refuses an unknown name
        EnvironmentConfig.__post_init__(self)
        for name, allowed in NUMBERS.items():
            require_number(name, getattr(self, name), allowed)
        require_batch(self.ppo, self.num_envs)
        if self.env == PARTIAL_GRID:
            require_grid(self)
        else:
            require_no_grid(self)

    @property
    def effective_noise(self) -> NoiseConfig:
        """The errors that reach the method: none if it learns from the true reward."""
        return NoiseConfig() if method(self.method).reward == "true" else self.noise

    @property
    def rollout(self) -> int:
        """Environment steps between two updates."""
        return self.ppo.n_steps * self.num_envs


GENERAL: Values = {
    "total_timesteps": 200_000,
    "num_envs": 8,
    "eval_episodes": 16,
    "final_episodes": 100,
    "ppo.hidden_sizes": (64, 64),
    "ppo.n_steps": 256,
    "ppo.batch_size": 256,
    "ppo.n_epochs": 10,
    "ppo.learning_rate": 1e-3,
    "ppo.gamma": 0.99,
    "ppo.gae_lambda": 0.95,
    "ppo.clip_range": 0.2,
    "ppo.max_grad_norm": 0.5,
    "ppo.timeouts": "hidden",
}
"""Settings of any other environment than PartialGrid-v0 that differ from its own: those of SB3's
PPO where it has them, for an environment that pays at every step."""


WORLD: Values = {
    "total_timesteps": 2_000_000,
    "num_envs": 256,
    "eval_every": 60,
    "ppo.hidden_sizes": (128, 128),
    "ppo.centered": True,
    "ppo.n_steps": 32,
    "ppo.batch_size": 2048,
    "ppo.n_epochs": 3,
    "ppo.learning_rate": 2e-3,
    "ppo.gamma": 0.97,
    "ppo.gae_lambda": 0.95,
    "ppo.clip_range": 0.2,
    "ppo.ent_coef": 0.01,
    "ppo.max_grad_norm": 0.5,
    "ppo.timeouts": "hidden",
}
"""Settings of the grid worlds that differ from those of PartialGrid-v0."""


PROCGEN_GAME: Values = {
    "total_timesteps": 5_000_000,
    "num_envs": 64,
    "eval_every": 50,
    "eval_episodes": 64,
    "final_episodes": 256,
    "held_out": 0.05,
    "checkpoint_every": 20,
    "ppo.hidden_sizes": (256,),
    "ppo.n_steps": 256,
    "ppo.batch_size": 2048,
    "ppo.n_epochs": 3,
    "ppo.learning_rate": 5e-4,
    "ppo.anneal": False,
    "ppo.gamma": 0.999,
    "ppo.gae_lambda": 0.95,
    "ppo.clip_range": 0.2,
    "ppo.ent_coef": 0.01,
    "ppo.max_grad_norm": 0.5,
    "ppo.timeouts": "hidden",
}
"""Settings of Procgen's games that differ from those of PartialGrid-v0: those of PPO in the paper
on Procgen (Cobbe et al. 2020, appendix C), with the width of one layer more above the CNN."""


def default_values(env: str, method_name: str | None = None) -> Values:
    """Return the settings of an environment that differ from those of PartialGrid-v0.

    Args:
        env: id of the environment.
        method_name: name of the method, if it is known. One with a reward map, which decides what
            the rest of the network sees, does without boards centered on the agent.
    """
    values = _values_of(env)
    chosen = METHODS.get(method_name or "")
    if chosen is not None and chosen.network.has_reward_map and "ppo.centered" in values:
        return {**values, "ppo.centered": False}
    return values


def _values_of(env: str) -> Values:
    name = env.removeprefix("envs:")
    if name == PARTIAL_GRID:
        return {}
    if name in PROCGEN:
        return {"env": env, **PROCGEN_GAME}
    return {"env": env, **(WORLD if name in WORLDS else GENERAL)}


def default_config(env: str = PARTIAL_GRID) -> TrainConfig:
    """Return the default settings of a run in an environment.

    >>> default_config().num_envs, default_config("CartPole-v1").num_envs
    (256, 8)
    """
    return override(TrainConfig(), default_values(env))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Chosen:
    """The flags on which default settings depend."""

    env: str | None = None
    method: str | None = None


def presets_for(
    args: list[str], presets: Mapping[str, tuple[str, Values]]
) -> dict[str, tuple[str, Values]]:
    """Return presets on top of the defaults of the environment and the method of each of them.

    Args:
        args: the command line, whose --env and --method replace those of a preset.
        presets: a sentence and settings by the name of the preset.
    """
    given = parse_part(_Chosen, args)
    return {
        name: (
            sentence,
            {
                **default_values(
                    given.env or values.get("env", PARTIAL_GRID),
                    given.method or values.get("method"),
                ),
                **values,
            },
        )
        for name, (sentence, values) in presets.items()
    }


def require_grid(config: TrainConfig) -> None:
    """Raise a ValueError for settings that PartialGrid-v0 cannot have."""
    require_planes(config.ppo)
    if config.outcome is not None:
        raise ValueError(
            f"outcome {config.outcome!r} has no effect in {PARTIAL_GRID}, whose outcomes are the "
            "two squares: leave it out"
        )
    if config.noise.unseen_rows > config.grid.size:
        raise ValueError(
            f"noise.unseen_rows must be at most the {config.grid.size} rows of the board, "
            f"got {config.noise.unseen_rows}"
        )
    if config.noise.noiseless:
        return
    if config.grid.flag == "hidden":
        raise ValueError(
            "noise needs grid.flag visible, since the overseer who errs reads that plane: "
            "leave the noise out, or hide the plane from the modules by --ppo.masked-channels 3"
        )
    if config.observer is not None:
        raise ValueError(
            f"noise and observer {config.observer!r} were given, but the noise is that of the "
            "grid's own overseer: give one of them, or an observer with Noisy(...)"
        )


def require_no_grid(config: TrainConfig) -> None:
    """Raise a ValueError for settings that only PartialGrid-v0 has."""
    instead = {
        "grid": (GridConfig(), "--env-kwargs, --horizon or --flag"),
        "noise": (NoiseConfig(), "--observer with Noisy(...)"),
    }
    for name, (default, advice) in instead.items():
        if getattr(config, name) != default:
            raise ValueError(
                f"{name}.* is of {PARTIAL_GRID} and has no effect in {config.env}: use {advice}"
            )
    if config.outcome is not None:
        load_function(config.outcome)


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


def require_effect(config: TrainConfig) -> None:
    """Raise a ValueError for a setting that has no effect on the method of a run.

    Runs of a study share their settings, which need not have an effect on each of its methods.
    """
    channel, chosen = config.ppo.agent_channel, method(config.method)
    if channel is not None and not chosen.may_read_agent_channel:
        readers = [name for name, each in METHODS.items() if each.may_read_agent_channel]
        raise ValueError(
            f"ppo.agent_channel {channel} has no effect on method {config.method!r}, which scores "
            f"no positions: leave it out, or choose one of {', '.join(readers)}"
        )


def require_memory(config: TrainConfig, values: int) -> None:
    """Raise a ValueError for rollouts whose observations do not fit into this machine's memory.

    The rollout buffer holds them twice while it is flattened. Without this check the system would
    end the process, or other ones.

    Args:
        config: settings of the run.
        values: numbers in an observation.
    """
    needed = 2 * config.rollout * values * np.dtype(np.float32).itemsize
    present = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > present:
        lower = "one of them, or grid.size" if config.env == PARTIAL_GRID else "one of them"
        raise ValueError(
            f"a rollout of ppo.n_steps {config.ppo.n_steps} x num_envs {config.num_envs} needs "
            f"{needed / 2**30:,.0f} GiB, this machine has {present / 2**30:,.0f} GiB of memory: "
            f"lower {lower}"
        )


def require_batch(ppo: PPOConfig, num_envs: int) -> None:
    """Raise a ValueError for a batch that is larger than a rollout, or cannot be normalized."""
    require_batch_size(ppo.batch_size, ppo.advantage_normalization, "ppo.batch_size")
    require_rollout(ppo.batch_size, ppo.n_steps, num_envs, "ppo.batch_size")


TRAINING, EVALUATION, SELECTION, HELD_OUT = 1, 2, 3, 4
"""Streams of random numbers: training, evaluation during training, selection of a checkpoint, and
evaluation of the selected one on levels that no selection has used."""


def require_device(device: str) -> None:
    """Raise a ValueError if the device is a GPU and there is none."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device cuda was asked for, but PyTorch sees no GPU: use auto or cpu")


def run_name(config: TrainConfig, *words: str) -> str:
    """Return the name of a run; further words follow its method.

    >>> run_name(TrainConfig(method="naive", seed=3), "hidden")
    'naive-hidden-p0.1-seed3'
    """
    name = config.method.rpartition(":")[2]  # without the module of a method of one's own
    return "-".join([name, *words, f"p{config.oversight_probability:g}", f"seed{config.seed}"])


def stream_seed(seed: int, *stream: int) -> int:
    """Return the seed of one stream of random numbers, unrelated to those of other runs.

    Lane i of a vector environment uses the seed plus i, so that neighboring seeds would share most
    of their levels.
    """
    return int(np.random.SeedSequence([seed, *stream]).generate_state(1)[0])
