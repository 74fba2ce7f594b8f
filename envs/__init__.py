"""Environments under partial oversight; importing this package registers their ids."""

from envs.episodes import summarize_episodes
from envs.grid.render import draw
from envs.grid.single import GridEnv
from envs.grid.vector import GridVectorEnv
from envs.ledger import read_ledger
from envs.registration import IDS, register
from envs.wrappers import FixedHorizon, RecordTruth

__all__ = [
    "IDS",
    "FixedHorizon",
    "GridEnv",
    "GridVectorEnv",
    "RecordTruth",
    "draw",
    "read_ledger",
    "summarize_episodes",
]

register()
