"""Grid worlds in which a proxy looks like the intended goal until a test parts them."""

from collections.abc import Mapping
from typing import Any

from envs.worlds.corner_maze import CornerMaze
from envs.worlds.world import Channel, Solution, World
from envs.worlds.world_env import WorldEnv, WorldVectorEnv

__all__ = ["WORLDS", "Channel", "CornerMaze", "Solution", "World", "WorldEnv", "WorldVectorEnv"]

WORLDS: Mapping[str, type[World]] = {"CornerMaze-v0": CornerMaze}
"""The worlds by the ids of their environments."""


def world_env(*, world: str, render_mode: str | None = None, **arguments: Any) -> WorldEnv:  # noqa: ANN401
    """Return a single environment of a world; further arguments are those of the world."""
    return WorldEnv(WORLDS[world](**arguments), render_mode)


def world_vec(
    num_envs: int = 1,
    *,
    world: str,
    render_mode: str | None = None,
    **arguments: Any,  # noqa: ANN401
) -> WorldVectorEnv:
    """Return a native vector environment of a world."""
    return WorldVectorEnv(WORLDS[world](**arguments), num_envs, render_mode)
