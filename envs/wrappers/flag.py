"""The oversight flag in the observation: one more entry, plane, or half of a discrete space."""

from typing import Any

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from envs.observers.observer import Mask


def flagged_space(space: Space[Any]) -> Space[Any]:
    """Return the space of a single observation that carries the flag.

    A vector gains an entry at its end, 0 or 1; planes or an image gain a plane at the end of the
    shorter of their first and last axes, 0 or the space's highest value; `Discrete(n)` becomes
    `Discrete(2 * n)`, whose upper half is flagged.

    Raises:
        ValueError: If the space has no place for the flag.
    """
    if isinstance(space, spaces.Discrete):
        return spaces.Discrete(2 * int(space.n), start=int(space.start), dtype=space.dtype)
    axis = plane_axis(space)
    if isinstance(space, spaces.MultiBinary):
        shape = list(space.shape)
        shape[axis] += 1
        return spaces.MultiBinary(shape if len(shape) > 1 else shape[0])
    assert isinstance(space, spaces.Box)
    plane = space.low.take([0], axis)
    low = np.concatenate([space.low, np.zeros_like(plane)], axis)
    high = np.concatenate([space.high, np.full_like(plane, flag_value(space))], axis)
    return spaces.Box(low, high, dtype=space.dtype.type)


def add_flag(space: Space[Any], observations: Any, cue: Mask) -> NDArray[Any]:  # noqa: ANN401
    """Return observations of a single space, [n, ...], with the flag of each.

    >>> add_flag(spaces.Discrete(5), np.array([3, 3]), np.array([False, True]))
    array([3, 8])
    """
    array = np.asarray(observations)
    if isinstance(space, spaces.Discrete):
        upper: NDArray[Any] = array + cue * array.dtype.type(space.n)
        return upper
    axis = plane_axis(space) + 1
    shape = list(array.shape)
    shape[axis] = 1
    marks = np.where(cue, array.dtype.type(flag_value(space)), array.dtype.type(0))
    plane = np.broadcast_to(marks.reshape(-1, *[1] * (array.ndim - 1)), shape)
    return np.concatenate([array, plane], axis)


def plane_axis(space: Space[Any]) -> int:
    """Return the axis of a single observation along which the flag is added.

    Raises:
        ValueError: If there is none, or two that look alike.
    """
    shape = space.shape if isinstance(space, spaces.Box | spaces.MultiBinary) else None
    if shape is not None and len(shape) == 1:
        return 0
    if shape is not None and len(shape) == 3 and shape[0] != shape[2]:
        return 0 if shape[0] < shape[2] else 2
    raise ValueError(
        f"flag='visible' needs a Discrete space, or a Box or MultiBinary one of 1 axis, or of 3 "
        f"axes of which the first or the last numbers the planes (and is the shorter), got "
        f"{space}: flatten the observation inside PartialOversight, or take flag='hidden' and "
        f"read info['observed']"
    )


def flag_value(space: Space[Any]) -> float:
    """Return what marks an observed step: 1, or an image's highest value."""
    if isinstance(space, spaces.Box) and len(space.shape) == 3:
        highest = float(space.high.max())
        return highest if np.isfinite(highest) else 1.0
    return 1.0
