"""The agent's question to the overseer: the upper half of a discrete action space."""

from typing import Any

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from envs.observers.observer import Mask


def asking_space(space: Space[Any]) -> spaces.Discrete:
    """Return the space of a single action, each of which can also be taken with the question.

    Raises:
        ValueError: If the space is not discrete.
    """
    if not isinstance(space, spaces.Discrete):
        raise ValueError(
            f"Query() adds the agent's question to a Discrete action space, got {space}: "
            f"let a rule ask, as Query(rule=...), or make the actions discrete inside "
            f"PartialOversight"
        )
    return spaces.Discrete(2 * int(space.n), start=int(space.start), dtype=space.dtype)


def split_action(space: spaces.Discrete, actions: NDArray[Any]) -> tuple[NDArray[Any], Mask]:
    """Return the environment's actions, [n], and which of them came with the question.

    >>> split_action(spaces.Discrete(4), np.array([3, 7]))
    (array([3, 3]), array([False,  True]))

    Raises:
        ValueError: If an action is not an integer of the doubled space.
    """
    low, size = int(space.start), int(space.n)
    if actions.dtype.kind not in "iu" or np.any((actions < low) | (actions >= low + 2 * size)):
        raise ValueError(
            f"actions must be integers from {low} to {low + 2 * size - 1}, of which those from "
            f"{low + size} on ask the overseer to watch, got {actions!r}"
        )
    asks: Mask = actions >= low + size
    return np.where(asks, actions - actions.dtype.type(size), actions), asks
