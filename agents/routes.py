"""From what the overseer saw of an episode to the route of each of its steps."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.methods import ROUTES

UNRESOLVED = -1
OPEN = ROUTES.index("open")


def episode_route(info: Mapping[str, Any]) -> int:
    """Return the route of an episode from the `info` of its last step.

    Reads `observed`, `observed_reward` (what the overseer saw, 0 where nothing was) and SB3's
    `TimeLimit.truncated`; never a hidden reward.

    >>> ROUTES[episode_route({"observed": True, "observed_reward": -1.0})]
    'ghost'
    >>> ROUTES[episode_route({"observed": False, "TimeLimit.truncated": True})]
    'open'
    """
    if info.get("observed", False):
        return ROUTES.index("diamond" if info["observed_reward"] > 0 else "ghost")
    return OPEN if info.get("TimeLimit.truncated", False) else ROUTES.index("hidden")


def write_back(last: NDArray[np.int8]) -> NDArray[np.int8]:
    """Give every step the route of its episode.

    Args:
        last: [steps, lanes], the route at each episode's last step and `UNRESOLVED` elsewhere.
            An episode that the rollout's end cuts is unobserved: its route is `open`.

    >>> write_back(np.array([[-1], [2], [-1]], dtype=np.int8)).ravel()
    array([2, 2, 3], dtype=int8)
    """
    routes = np.empty_like(last)
    route = np.full(last.shape[1:], OPEN, dtype=last.dtype)
    for step in reversed(range(len(last))):
        route = np.where(last[step] == UNRESOLVED, route, last[step])
        routes[step] = route
    return routes
