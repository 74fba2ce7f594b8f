"""Environments under partial oversight; importing this package registers their ids."""

from envs.grid.render import draw
from envs.grid.single import GridEnv
from envs.grid.vector import GridVectorEnv
from envs.observers import Budget, EpisodeCoin, Noisy, Region, Schedule, StepCoin
from envs.registration import IDS, register
from envs.wrappers import PartialOversight

__all__ = [
    "IDS",
    "Budget",
    "EpisodeCoin",
    "GridEnv",
    "GridVectorEnv",
    "Noisy",
    "PartialOversight",
    "Region",
    "Schedule",
    "StepCoin",
    "draw",
]

register()
