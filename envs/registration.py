"""The registered environment ids, and environments by id that pay their true reward."""

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

import gymnasium as gym
from gymnasium import spaces

# id -> (single environment, native vector environment)
IDS = {
    "PartialGrid-v0": ("envs.gridworld_env:partial_grid", "envs.gridworld_env:partial_grid_vec"),
}


def register() -> None:
    """Register all ids of this project that are not registered yet."""
    for name, (entry_point, vector_entry_point) in IDS.items():
        if name not in gym.registry:
            gym.register(name, entry_point, vector_entry_point=vector_entry_point)


def truthful(name: str) -> Callable[[], gym.Env[Any, Any]]:
    """Return a function that makes the environment of an id, which pays its true reward.

    `module:id` imports the module first, as in Gymnasium. MiniGrid's tasks observe their image as
    one vector; the mission is left out.

    Raises:
        ValueError: If there is no such environment, or its observations are not arrays.
    """
    try:
        _import_minigrid(name)
        space = gym.make(name).observation_space
    except (gym.error.Error, ImportError, ValueError) as error:
        raise ValueError(_refusal(name, error)) from error

    def make() -> gym.Env[Any, Any]:
        truth: dict[str, Any] = {"reward": "true"} if name.endswith("PartialGrid-v0") else {}
        env: gym.Env[Any, Any] = gym.make(name, disable_env_checker=True, **truth)
        return _image(env) if isinstance(space, spaces.Dict) else env

    if isinstance(make().observation_space, spaces.Dict | spaces.Tuple):
        raise ValueError(
            f"{name} has the observation space {' '.join(repr(space).split())}, which is not an "
            "array: register it in a wrapper that makes it one, as "
            "gymnasium.wrappers.FlattenObservation does unless a part has no fixed size"
        )
    return make


def _import_minigrid(name: str) -> None:
    """Register MiniGrid's ids if one is asked for, since the import takes a second."""
    if name.startswith("MiniGrid-"):
        import minigrid  # noqa: F401, PLC0415


def _image(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    """Return an environment that observes only its flattened image, if it has one."""
    assert isinstance(env.observation_space, spaces.Dict)
    if "image" not in env.observation_space.spaces:
        return env
    alone = gym.wrappers.FilterObservation(env, filter_keys=["image"])
    return gym.wrappers.FlattenObservation(alone)


def _refusal(name: str, error: Exception) -> str:
    """Return why an environment cannot be made: its name, a missing package, or something else."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, gym.error.DependencyNotInstalled | ImportError):
        advice = "" if "pip install" in reason else "; install it in this environment of Python"
        return f"environment {name!r} needs a package that cannot be imported: {reason}{advice}"
    if name.rpartition(":")[2] in gym.registry:
        return f"environment {name!r} cannot be made: {reason}"
    close = get_close_matches(name, gym.registry, n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else "module:id imports a module first"
    return f"unknown environment {name!r}: {hint} ({reason})"
