"""The spaces of an agent that sees which steps are observed, or that queries the overseer.

The single and the vector wrapper share them. Functions act on arrays with a leading axis of lanes.
"""

from typing import Any

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from envs.observers.observer import Mask

FLAG = "observed"
"""The key of the flag in observations of a `Dict` space."""


def flagged_space(space: Space[Any]) -> Space[Any]:
    """Return the space of a single observation with the flag.

    A vector gains an entry at its end, 0 or 1. An image gains a plane at the end of the shorter of
    its first and last axes, filled with 0 or the space's highest value, and a board, which is a
    `MultiBinary` of 3 axes, one at the end of its first axis. `Discrete(n)` becomes
    `Discrete(2 * n)`, whose upper half has the flag. A `Dict` gains the key `observed`, and a
    `Tuple` an item at its end, a `Discrete(2)`.

    Raises:
        ValueError: If the space has no place for the flag.
    """
    if isinstance(space, spaces.Dict):
        if FLAG in space.spaces:
            raise ValueError(
                f"flag='visible' adds the key {FLAG!r} to a Dict observation, which has that key: "
                "rename it in a wrapper inside PartialOversight, or take flag='hidden' and read "
                "info['observed']"
            )
        return spaces.Dict({**space.spaces, FLAG: spaces.Discrete(2)})
    if isinstance(space, spaces.Tuple):
        return spaces.Tuple([*space.spaces, spaces.Discrete(2)])
    if isinstance(space, spaces.Discrete):
        return _doubled(space)
    axis = plane_axis(space)
    if isinstance(space, spaces.MultiDiscrete):
        start = np.append(space.start, 0)
        return spaces.MultiDiscrete(np.append(space.nvec, 2), space.dtype.type, start=start)
    if isinstance(space, spaces.MultiBinary):
        shape = list(space.shape)
        shape[axis] += 1
        return spaces.MultiBinary(shape if len(shape) > 1 else shape[0])
    assert isinstance(space, spaces.Box)
    shape = [*space.shape]
    shape[axis] = 1  # and not a slice of the bounds, since a vector may have no entries
    low = np.concatenate([space.low, np.zeros(shape, space.low.dtype)], axis)
    high = np.concatenate([space.high, np.full(shape, flag_value(space), space.high.dtype)], axis)
    return spaces.Box(low, high, dtype=space.dtype.type)


def add_flag(space: Space[Any], observations: Any, flags: Mask) -> Any:  # noqa: ANN401
    """Return observations of a single space, [n, ...], with their flags, [n].

    >>> add_flag(spaces.Discrete(5), np.array([3, 3]), np.array([False, True]))
    array([3, 8])
    """
    if isinstance(space, spaces.Dict):
        return {**observations, FLAG: flags.astype(np.int64)}
    if isinstance(space, spaces.Tuple):
        return (*observations, flags.astype(np.int64))
    array = np.asarray(observations)
    if isinstance(space, spaces.Discrete):
        # at least as wide as the doubled space, which may hold numbers that the space does not
        wide = np.result_type(array.dtype, _doubled(space).dtype).type
        upper: NDArray[Any] = array.astype(wide) + flags * wide(space.n)
        return upper
    axis = plane_axis(space) + 1
    shape = list(array.shape)
    shape[axis] = 1
    marks = np.where(flags, array.dtype.type(flag_value(space)), array.dtype.type(0))
    plane = np.broadcast_to(marks.reshape(-1, *[1] * (array.ndim - 1)), shape)
    return np.concatenate([array, plane], axis)


def add_one_flag(space: Space[Any], observation: Any, flag: Mask) -> Any:  # noqa: ANN401
    """Return a single observation of a space with its flag, [1]."""
    if isinstance(space, spaces.Dict):
        return {**observation, FLAG: np.int64(flag[0])}
    if isinstance(space, spaces.Tuple):
        return (*observation, np.int64(flag[0]))
    return add_flag(space, np.asarray(observation)[None], flag)[0]


def _doubled(space: spaces.Discrete) -> spaces.Discrete:
    """Return a space of twice as many numbers, of the same dtype if that holds them.

    Raises:
        ValueError: If no integer of 64 bits holds the last one.
    """
    size, start = 2 * int(space.n), int(space.start)
    last = start + size - 1
    if last > np.iinfo(np.int64).max:
        raise ValueError(
            f"a Discrete space must leave room for as many numbers again, got {space}: number "
            "observations and actions from 0"
        )
    assert space.dtype is not None
    dtype = space.dtype.type if last <= np.iinfo(space.dtype).max else np.int64
    return spaces.Discrete(size, start=start, dtype=dtype)


def plane_axis(space: Space[Any]) -> int:
    """Return the axis of a single observation along which the flag is added.

    Raises:
        ValueError: If the space has no such axis, or two that look alike.
    """
    several = spaces.Box | spaces.MultiBinary | spaces.MultiDiscrete
    shape = space.shape if isinstance(space, several) else None
    if shape is not None and len(shape) == 1:
        return 0
    if shape is not None and len(shape) == 3:
        if isinstance(space, spaces.MultiBinary):
            return 0
        if isinstance(space, spaces.Box) and shape[0] != shape[2]:
            return 0 if shape[0] < shape[2] else 2
    raise ValueError(
        "flag='visible' needs a Discrete, Dict or Tuple space, a Box, MultiBinary or MultiDiscrete "
        "one of 1 axis, a MultiBinary one of 3 axes of which the first numbers the planes, or a "
        "Box of 3 axes of which the first or the last numbers the planes (and is the shorter), got "
        f"{' '.join(str(space).split())}: flatten the observation inside PartialOversight, or make "
        "it the only key of a Dict there with gymnasium.wrappers.TransformObservation, or take "
        "flag='hidden' and read info['observed']"
    )


def flag_value(space: Space[Any]) -> float:
    """Return the value of the flag of an observed step: 1, or an image's highest value."""
    if isinstance(space, spaces.Box) and len(space.shape) == 3:
        highest = float(space.high.max()) if space.high.size else 1.0
        return highest if 0 < highest < np.inf else 1.0
    return 1.0


def asking_space(space: Space[Any]) -> spaces.Discrete:
    """Return the space of a single action, each of which can also be taken with a query.

    Raises:
        ValueError: If the space is not discrete.
    """
    if not isinstance(space, spaces.Discrete):
        raise ValueError(
            f"Query() adds the agent's query to a Discrete action space, got {space}: "
            f"let a rule query, as in Query(rule=...), or make the actions discrete inside "
            f"PartialOversight"
        )
    return _doubled(space)


def split_action(space: spaces.Discrete, actions: NDArray[Any]) -> tuple[NDArray[Any], Mask]:
    """Return the environment's actions, [n], and which of them came with a query.

    >>> split_action(spaces.Discrete(4), np.array([3, 7]))
    (array([3, 3]), array([False,  True]))

    Raises:
        ValueError: If an action is not an integer of the doubled space.
    """
    low, size = int(space.start), int(space.n)
    if actions.dtype.kind not in "iu" or np.any((actions < low) | (actions >= low + 2 * size)):
        raise ValueError(
            f"actions must be integers from {low} to {low + 2 * size - 1}, of which those from "
            f"{low + size} on query the overseer, got {actions!r}"
        )
    asks: Mask = actions >= low + size
    return np.where(asks, actions - actions.dtype.type(size), actions), asks
