"""Setup: how an agent is trained, part by part; a planted leak is a setup with another part.

From any environment to the setup that certifies it.

Worlds: environments with the truth tampered inside, its ledger around, and oversight outside.

Held-out episodes of a trial: in the world that it trains in, with the same tamper inside.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from types import MappingProxyType
from typing import Any, Literal

import gymnasium as gym
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from agents import Method, RoutedPPO, VectorEnvAdapter, method
from agents.config import PPOConfig
from envs import PartialOversight, RecordTruth
from envs.gridworld_env import add_oversight
from envs.wrappers import vector
from oversight.certificate.tampering import (
    Mask,
    Note,
    Numbers,
    Tamper,
    Tampered,
    TamperedGrid,
    TamperedVector,
    overhear,
)
from oversight.rl.callbacks import OversightBudget
from oversight.rl.checkpoint_selection import HeldOut
from oversight.rl.config import make_learner, stream_seed

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


Single = Callable[[], gym.Env[Any, Any]]
SEED = 101  # of the tampers' draws, apart from TRAINING and EVALUATION


def grid_world(arguments: Mapping[str, Any]) -> World:
    """Return `PartialGrid-v0` as it is trained on, with the tamper in the game inside.

    Args:
        arguments: of `GridVectorEnv`.
    """

    def build(setup: Setup, tamper: Tamper, note: Note, ledgers: Path) -> AnyVectorEnv:
        seed = stream_seed(setup.seed, SEED)
        game = TamperedGrid(tamper, note, seed, num_envs=setup.num_envs, **arguments)
        env = add_oversight(game, reward=setup.method.reward)
        return setup.outside(setup.hide(env))  # type: ignore[no-any-return]

    return build


def vector_world(make: Callable[[int], AnyVectorEnv], oversight: Mapping[str, Any]) -> World:
    """Return any vector environment, with the wrappers for vector environments around it.

    Args:
        make: from a number of lanes to an environment that pays the truth.
        oversight: arguments of `PartialOversight`.
    """

    def build(setup: Setup, tamper: Tamper, note: Note, ledgers: Path) -> AnyVectorEnv:
        seed = stream_seed(setup.seed, SEED)
        taken: list[Any] = []
        env = TamperedVector(make(setup.num_envs), oversight, tamper, note, seed, taken)
        told = vector.RecordTruth(env, ledgers / "truth.ledger")
        hidden = overhear(setup.hide(setup.inside(told)), told, taken)
        return setup.outside(hidden)  # type: ignore[no-any-return]

    return build


def lane_world(make: Single, oversight: Mapping[str, Any], mode: AutoresetMode) -> World:
    """Return many single environments, each with the wrappers for single ones around it.

    Args:
        make: returns an environment that pays the truth.
        oversight: arguments of `PartialOversight`.
        mode: when a lane that ended is reset.
    """

    def lane(
        number: int, setup: Setup, tamper: Tamper, note: Note, ledgers: Path
    ) -> gym.Env[Any, Any]:
        seed = stream_seed(setup.seed, SEED) + number
        taken: list[Any] = []
        env = Tampered(make(), oversight, tamper, note, seed, taken)
        told = RecordTruth(env, ledgers / f"truth-{number}.ledger")
        return overhear(setup.hide(setup.inside(told)), told, taken)  # type: ignore[no-any-return]

    def build(setup: Setup, tamper: Tamper, note: Note, ledgers: Path) -> AnyVectorEnv:
        lanes = [
            partial(lane, number, setup, tamper, note, ledgers) for number in range(setup.num_envs)
        ]
        return setup.outside(SyncVectorEnv(lanes, autoreset_mode=mode))  # type: ignore[no-any-return]

    return build


def lanes_of(make: Single, mode: AutoresetMode) -> Callable[[int], AnyVectorEnv]:
    """Return a maker of a vector environment of as many single ones as it is asked for."""
    return lambda num_envs: SyncVectorEnv([make] * num_envs, autoreset_mode=mode)


Wrapper = Literal["vector", "single"]
THIRD = MappingProxyType({"observed_probability": 0.3})


def around(
    make: Callable[[], gym.Env[Any, Any]],
    chosen: Method | str = "routed",
    oversight: Mapping[str, Any] = THIRD,
    wrapper: Wrapper = "vector",
    mode: AutoresetMode = AutoresetMode.SAME_STEP,
) -> Setup:
    """Return the setup that certifies `PartialOversight` around an environment, and a learner.

    Args:
        make: returns a new environment that pays the true reward.
        chosen: a method, or the name of one.
        oversight: arguments of `PartialOversight`; three episodes of ten are observed by default.
        wrapper: whether one wrapper lies around all lanes, or one in each.
        mode: when a lane that ended is reset.

    Raises:
        ValueError: if there is no such method.
    """
    learns = method(chosen) if isinstance(chosen, str) else chosen
    kind = vector.PartialOversight if wrapper == "vector" else PartialOversight
    shown = {"reward": learns.reward, **oversight}
    hide = unwrapped if learns.reward == "true" else partial(kind, **shown)
    if wrapper == "vector":
        world = vector_world(lanes_of(make, mode), oversight)
    else:
        world = lane_world(make, oversight, mode)
    return Setup(world=world, method=learns, hide=hide)


LIMIT = 1000  # steps: nothing says that an unknown environment ends
POOL = 1  # episode: a trial is short, and one that chooses nothing would show nothing


def held_out(setup: Setup, tamper: Tamper, ledgers: Path) -> HeldOut:
    """Return the rule by which the training command chooses a checkpoint, for one trial.

    Args:
        setup: how the trial trains.
        tamper: what replaces hidden rewards, those of held-out episodes too.
        ledgers: a folder, in which each moment's environment has one of its own.
    """

    def make(lanes: int) -> VecEnv:
        folder = Path(mkdtemp(dir=ledgers))
        return setup.adapt(setup.world(replace(setup, num_envs=lanes), tamper, unnoted, folder))

    return HeldOut(make, setup.held_out, setup.seed, LIMIT, POOL)


def unnoted(observed: Mask, hidden: Mask, rewards: Numbers) -> None:
    """Let a step pass: only those of training are counted."""
