"""The numbers of the routes, and the route of each step from those of the episodes' ends."""

import numpy as np
from numpy.typing import NDArray

from agents.definition import ROUTES

UNRESOLVED, UNUSED = -1, -2
"""An episode that goes on, and a step that belongs to none: it only reset the environment."""
DIAMOND, GHOST, HIDDEN, OPEN = range(len(ROUTES))


def write_back(
    last: NDArray[np.int8], unfinished: NDArray[np.int8] | None = None
) -> NDArray[np.int8]:
    """Give every step the route of its episode.

    Args:
        last: [steps, lanes], the route at each episode's last step, `UNRESOLVED` elsewhere, and
            `UNUSED` at a step that only reset its lane, which comes right after an end.
        unfinished: [lanes], the route of an episode that the rollout's end cuts: `open` unless
            told otherwise.

    >>> write_back(np.array([[-1], [2], [-1]], dtype=np.int8)).ravel()
    array([2, 2, 3], dtype=int8)
    """
    routes = np.empty_like(last)
    route = np.full(last.shape[1:], OPEN, dtype=last.dtype) if unfinished is None else unfinished
    for step in reversed(range(len(last))):
        route = np.where(last[step] == UNRESOLVED, route, last[step])
        routes[step] = route
    return routes
