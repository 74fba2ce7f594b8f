"""A wrapper's state beside that of the environment inside, under names that cannot meet."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import Space
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

INSIDE = "env."  # before every name of the environment inside; no wrapper's own name starts so


def keeps_state(env: VectorEnv[Any, Any, Any]) -> bool:
    """Return whether an environment, and every one inside it, has `get_state` and `set_state`."""
    able = hasattr(env, "get_state") and hasattr(env, "set_state")
    return able and (not isinstance(env, VectorWrapper) or keeps_state(env.env))


def joined(own: Mapping[str, NDArray[Any]], env: VectorEnv[Any, Any, Any]) -> Arrays:
    """Copy a wrapper's arrays and those of the environment inside.

    Raises:
        ValueError: If that has no state to copy.
    """
    if not keeps_state(env):
        raise ValueError(
            f"{env!r} has no get_state and set_state that reach all the way in: take a native "
            "vector environment that has both, as PartialGrid-v0"
        )
    inside: Arrays = env.get_state()  # type: ignore[attr-defined]
    copies = {name: array.copy() for name, array in own.items()}
    return copies | {INSIDE + name: array for name, array in inside.items()}


def parted(
    state: Mapping[str, NDArray[Any]], held: Mapping[str, NDArray[Any]]
) -> tuple[Arrays, Arrays]:
    """Return copies of a wrapper's own arrays, and those of the environment inside.

    Args:
        state: What `joined` returned.
        held: The wrapper's arrays that it would replace.

    Raises:
        ValueError: If a name, shape or dtype is not that of what is held.
    """
    own = {name: np.array(array) for name, array in state.items() if not name.startswith(INSIDE)}
    if own.keys() != held.keys():
        raise ValueError(
            f"state must hold {sorted(held)} and names that start with {INSIDE!r}, "
            f"got {sorted(state)}: was it saved with other wrappers?"
        )
    for name, array in held.items():
        if own[name].shape != array.shape or own[name].dtype != array.dtype:
            raise ValueError(
                f"state[{name!r}] must be {array.dtype} of shape {array.shape}, got "
                f"{own[name].dtype} of shape {own[name].shape}: was it saved with other arguments?"
            )
    return own, {name.removeprefix(INSIDE): state[name] for name in state if name not in own}


def check_array(observations: object, space: Space[Any]) -> NDArray[Any]:
    """Return observations that a wrapper keeps.

    Raises:
        ValueError: If they are no array.
    """
    if not isinstance(observations, np.ndarray):
        raise ValueError(
            "the state of PartialOversight holds the observations that its observer or proxy "
            f"reads, which must be arrays, got {space}: flatten them in a wrapper inside"
        )
    return observations
