"""Held-out episodes of a trial: in the world that it trains in, with the same tamper inside."""

from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

from stable_baselines3.common.vec_env import VecEnv

from oversight.certificate.setup import Setup
from oversight.certificate.tamper import Numbers, Tamper
from oversight.certificate.tampered import Mask
from oversight.selection import HeldOut

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
