"""Setup: how an agent is trained, part by part; a planted leak is a setup with another part."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gymnasium.vector import VectorEnv
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from agents import Method, RoutedPPO, VectorEnvAdapter, method
from agents.config import PPOConfig
from oversight.build import make_learner
from oversight.callbacks import OversightBudget
from oversight.certificate.tamper import Tamper
from oversight.certificate.tampered import Note
from oversight.selection import HeldOut

AnyVectorEnv = VectorEnv[Any, Any, Any]
World = Callable[["Setup", Tamper, Note, Path], AnyVectorEnv]
"""From a setup, a tamper, who is told the truth, and where ledgers go, to an environment."""


def unwrapped(env: Any) -> Any:  # noqa: ANN401 (single or vector)
    """Return an environment as it is."""
    return env


def adapted(env: AnyVectorEnv) -> VecEnv:
    """Return a vector environment as SB3 takes it."""
    return VectorEnvAdapter(env)


def learner(env: VecEnv, setup: "Setup") -> RoutedPPO:
    """Return an untrained agent, as `python -m oversight.train` builds it."""
    return make_learner(env, setup.method, setup.ppo, setup.seed, "cpu")


def choice(held_out: HeldOut, ledgers: Path) -> OversightBudget:
    """Return what chooses a checkpoint after every rollout, as `python -m oversight.train` does."""
    return OversightBudget(held_out, every=1)


def none(ledgers: Path) -> list[BaseCallback]:
    """Return no further callbacks."""
    return []


SMALL = PPOConfig(hidden_sizes=(16, 16), n_steps=32, batch_size=128)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How an agent is trained.

    Attributes:
        world: builds the environment, with the truth inside and oversight around it.
        method: what learns.
        inside: wraps what pays the truth, before anything is hidden.
        hide: wraps that so that hidden rewards are hidden.
        outside: wraps what the agent acts in.
        adapt: from the vector environment to SB3's.
        learner: from that to an untrained agent.
        choice: from held-out episodes and the folder of the ledgers to what chooses checkpoints.
        callbacks: from the folder of the ledgers to further callbacks.
        held_out: share of all episodes that only choose a checkpoint, from 0 to less than 1.
        ppo: hyperparameters.
        num_envs: lanes.
        steps: environment steps to train for, at least.
        seed: of everything.
    """

    world: World
    method: Method = field(default_factory=lambda: method("routed"))
    inside: Callable[[Any], Any] = unwrapped
    hide: Callable[[Any], Any] = unwrapped
    outside: Callable[[Any], Any] = unwrapped
    adapt: Callable[[AnyVectorEnv], VecEnv] = adapted
    learner: Callable[[VecEnv, "Setup"], RoutedPPO] = learner
    choice: Callable[[HeldOut, Path], OversightBudget] = choice
    callbacks: Callable[[Path], list[BaseCallback]] = none
    held_out: float = 0.25
    ppo: PPOConfig = SMALL
    num_envs: int = 8
    steps: int = 1024
    seed: int = 0
