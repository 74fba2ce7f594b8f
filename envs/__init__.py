"""Environments under partial oversight; importing this package registers their ids."""

from envs.grid.render import draw
from envs.grid.single import GridEnv
from envs.grid.vector import GridVectorEnv
from envs.registration import IDS, register

__all__ = ["IDS", "GridEnv", "GridVectorEnv", "draw"]

register()
