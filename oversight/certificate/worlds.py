"""Worlds: environments with the truth tampered inside, its ledger around, and oversight outside."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from envs import RecordTruth
from envs.wrappers import vector
from oversight.build import stream_seed
from oversight.certificate.overheard import overhear
from oversight.certificate.setup import AnyVectorEnv, Setup, World
from oversight.certificate.tamper import Tamper
from oversight.certificate.tampered import Note, Tampered, TamperedGrid, TamperedVector

Single = Callable[[], gym.Env[Any, Any]]
SEED = 101  # of the tampers' draws, apart from TRAINING and EVALUATION


def grid_world(arguments: Mapping[str, Any]) -> World:
    """Return `PartialGrid-v0` as it is trained on: the truth is hidden in its own kernel.

    Args:
        arguments: of `GridVectorEnv`.
    """

    def build(setup: Setup, tamper: Tamper, note: Note, ledgers: Path) -> AnyVectorEnv:
        seed = stream_seed(setup.seed, SEED)
        reward = setup.method.reward
        env = TamperedGrid(tamper, note, seed, num_envs=setup.num_envs, reward=reward, **arguments)
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
