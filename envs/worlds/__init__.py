"""Grid worlds in which a proxy looks like the intended goal until a test parts them."""

import inspect
from collections.abc import Mapping
from typing import Any, Literal, get_args

from envs.worlds.absent_supervisor import AbsentSupervisor
from envs.worlds.color_shape import ColorShape
from envs.worlds.corner_maze import CornerMaze
from envs.worlds.keys_chests import KeysChests
from envs.worlds.minigrid_view import MiniGridVectorView, MiniGridView, minigrid_view
from envs.worlds.side_runner import SideRunner
from envs.worlds.world import Channel, Solution, World
from envs.worlds.world_env import WorldEnv, WorldVectorEnv

__all__ = [
    "WORLDS",
    "AbsentSupervisor",
    "Channel",
    "ColorShape",
    "CornerMaze",
    "KeysChests",
    "MiniGridVectorView",
    "MiniGridView",
    "SideRunner",
    "Solution",
    "World",
    "WorldEnv",
    "WorldVectorEnv",
    "check_observation",
    "make_world",
    "minigrid_view",
]

Observation = Literal["planes", "minigrid"]

WORLDS: Mapping[str, type[World]] = {
    "CornerMaze-v0": CornerMaze,
    "SideRunner-v0": SideRunner,
    "KeysChests-v0": KeysChests,
    "ColorShape-v0": ColorShape,
    "AbsentSupervisor-v0": AbsentSupervisor,
}
"""The worlds by the ids of their environments."""


def make_world(name: str, arguments: Mapping[str, Any]) -> World:
    """Return the rules of a world by the id of its environment.

    Raises:
        ValueError: If an argument has another name than those of the world, or is out of its range.
    """
    world = WORLDS[name]
    known = list(inspect.signature(world).parameters)
    if unknown := [each for each in arguments if each not in known]:
        raise ValueError(
            f"{name} has no argument {unknown[0]!r}: its arguments are {', '.join(known)}, and "
            "those of all worlds: observation, and for gymnasium.make also render_mode"
        )
    return world(**arguments)


def world_env(
    *,
    world: str,
    observation: Observation = "planes",
    render_mode: str | None = None,
    **arguments: Any,  # noqa: ANN401
) -> WorldEnv | MiniGridView:
    """Return a single environment of a world; further arguments are those of the world."""
    check_observation(observation)
    env = WorldEnv(make_world(world, arguments), render_mode)
    return env if observation == "planes" else MiniGridView(env)


def world_vec(
    num_envs: int = 1,
    *,
    world: str,
    observation: Observation = "planes",
    render_mode: str | None = None,
    **arguments: Any,  # noqa: ANN401
) -> WorldVectorEnv | MiniGridVectorView:
    """Return a native vector environment of a world."""
    check_observation(observation)
    env = WorldVectorEnv(make_world(world, arguments), num_envs, render_mode)
    return env if observation == "planes" else MiniGridVectorView(env)


def check_observation(observation: str) -> None:
    """Raise a ValueError for an observation that worlds do not have."""
    if observation not in get_args(Observation):
        raise ValueError(f"observation must be one of {get_args(Observation)}, got {observation!r}")
