"""The registered environment ids, and environments by id that pay their true reward."""

import importlib
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import gymnasium as gym
from gymnasium import spaces

from envs.procgen import PROCGEN
from envs.worlds import WORLDS

# id -> (single environment, native vector environment)
IDS = {
    "PartialGrid-v0": ("envs.gridworld_env:partial_grid", "envs.gridworld_env:partial_grid_vec"),
}


def register() -> None:
    """Register all ids of this project that are not registered yet."""
    for name, (entry_point, vector_entry_point) in IDS.items():
        if name not in gym.registry:
            gym.register(name, entry_point, vector_entry_point=vector_entry_point)
    for name in WORLDS:
        if name not in gym.registry:
            gym.register(
                name,
                "envs.worlds:world_env",
                vector_entry_point="envs.worlds:world_vec",
                kwargs={"world": name},
            )
    for name, game in PROCGEN.items():
        if name not in gym.registry:
            gym.register(
                name,
                "envs.procgen:procgen_env",
                vector_entry_point="envs.procgen:procgen_vec",
                kwargs={"game": game},
            )


def require_registered(name: str) -> gym.envs.registration.EnvSpec:
    """Return the specification of an id, after the import of its module in `module:id`.

    Raises:
        ValueError: If there is no such environment, or its module cannot be imported.
    """
    module, colon, own = name.rpartition(":")
    try:
        if colon:
            importlib.import_module(module)
        elif name.startswith("MiniGrid-"):  # imported only here, since that takes a second
            importlib.import_module("minigrid")
        return gym.spec(own)
    except (gym.error.Error, ImportError, ValueError) as error:
        raise ValueError(_refusal(name, error)) from error


def make_truthful(
    name: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    max_episode_steps: int | None = None,
    render_mode: str | None = None,
) -> gym.Env[Any, Any]:
    """Return the environment of an id, which pays its true reward.

    `module:id` imports the module first, as in Gymnasium. A Tuple observation becomes one vector
    (`gymnasium.wrappers.FlattenObservation`), and so does the image of MiniGrid's tasks, whose
    mission, a text, is left out.

    Args:
        name: The id.
        arguments: Arguments of the environment.
        max_episode_steps: Time limit instead of that of the id.
        render_mode: As in `gymnasium.make`.

    Raises:
        ValueError: If there is no such environment, or it cannot be made.
    """
    require_registered(name)
    truth: dict[str, Any] = {"reward": "true"} if name.rpartition(":")[2] in IDS else {}
    given: dict[str, Any] = {**truth, **(arguments or {})}
    if render_mode is not None:
        given["render_mode"] = render_mode
    try:
        env: gym.Env[Any, Any] = gym.make(
            name, max_episode_steps=max_episode_steps, disable_env_checker=True, **given
        )
    except Exception as error:  # of the environment's own code
        raise ValueError(_refusal(name, error)) from error
    return _as_vector(env)


def _as_vector(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    """Return an environment that observes a vector, if it is of MiniGrid or observes a Tuple.

    No policy here reads a Tuple, nor the text that is MiniGrid's mission. The wrappers are those
    that Gymnasium's and MiniGrid's documentation give for them.
    """
    space = env.observation_space
    if isinstance(space, spaces.Tuple) and space.is_np_flattenable:
        return gym.wrappers.FlattenObservation(env)
    if isinstance(space, spaces.Dict) and {"image", "mission"} <= set(space.spaces):
        image = gym.wrappers.FilterObservation(env, filter_keys=["image"])
        return gym.wrappers.FlattenObservation(image)
    return env


def _refusal(name: str, error: Exception) -> str:
    """Return why an environment cannot be made: its name, a missing package, or something else."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, gym.error.DependencyNotInstalled | ImportError):
        advice = "" if "pip install" in reason else "; install it in this environment of Python"
        return f"environment {name!r} needs a package that cannot be imported: {reason}{advice}"
    if name.rpartition(":")[2] in gym.registry:
        return f"environment {name!r} cannot be made: {reason}"
    close = [repr(each) for each in get_close_matches(name, gym.registry, n=3)]
    hint = f"did you mean {' or '.join(close)}?" if close else "module:id imports a module first"
    return f"unknown environment {name!r}: {hint} ({reason})"
