"""Procgen's CoinRun and Maze with a goal that moves; the games are an optional package."""

from collections.abc import Mapping

from envs.procgen.games import LevelConfig
from envs.procgen.procgen_env import (
    ProcgenEnv,
    ProcgenVectorEnv,
    make_config,
    outcome,
    procgen_env,
    procgen_vec,
)

__all__ = [
    "PROCGEN",
    "PROXY",
    "LevelConfig",
    "ProcgenEnv",
    "ProcgenVectorEnv",
    "make_config",
    "outcome",
    "procgen_env",
    "procgen_vec",
]

PROCGEN: Mapping[str, str] = {"ProcgenCoinRun-v0": "coinrun", "ProcgenMaze-v0": "maze"}
"""The games by the ids of their environments."""
PROXY = "proxy"
"""The entry of info that is the proxy of these environments, which hidden steps pay."""
