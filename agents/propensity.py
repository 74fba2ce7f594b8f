"""How likely the end of an episode is to be observed, for the methods that are told so."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from agents.definition import ROUTES, Method
from agents.routes import DIAMOND, GHOST, HIDDEN
from oversight.routing import RouteTable


def check_propensity(method: Method, propensity: float | None) -> float | None:
    """Return the chance that the end of an episode is observed, if the method can go by it.

    Raises:
        ValueError: if it needs one and has none, or it is no chance above 0.
    """
    if propensity is not None and not 0 < propensity <= 1:  # true for NaN as well
        raise ValueError(f"propensity must be above 0 and at most 1, got {propensity}")
    if propensity is None and method.needs_propensity:
        raise ValueError(
            f"method {method.name!r} must be told the chance that the end of an episode is "
            "observed: give propensity, which the design of the oversight states"
        )
    return propensity


def table_of(
    method: Method, routes: Callable[[], NDArray[np.int8]], propensity: float | None
) -> RouteTable:
    """Return the table of one rollout: the method's own, or one weighted for it."""
    if not method.inverse_propensity:
        return method.table
    assert propensity is not None, "check_propensity refuses such a method without one"
    return weighted(method.table, routes(), propensity)


def weighted(table: RouteTable, routes: NDArray[np.int8], propensity: float) -> RouteTable:
    """Return a table whose target `shared` has inverse-propensity weights (Horvitz, Thompson 1952).

    An episode that was observed stands for the `1 / propensity` that ended alike, one that was
    hidden for none, and one that ended at no terminal for itself. The weights are divided by their
    mean over the rollout, so that the size of a step does not depend on the propensity. Where
    nothing has weight, nothing is learned.

    Args:
        table: weights by which these are multiplied.
        routes: of the steps of a rollout, of any shape; negative ones are no data.
        propensity: chance that the end of an episode is observed.

    >>> ones = RouteTable({route: {"shared": 1} for route in ROUTES})
    >>> routes = np.array([0, 2, 2, 2, 3], dtype=np.int8)
    >>> [row["shared"] for row in weighted(ones, routes, 0.25).as_dict().values()]
    [4.0, 4.0, 0.0, 1.0]
    """
    weights = np.ones(len(ROUTES))
    weights[[DIAMOND, GHOST]], weights[HIDDEN] = 1 / propensity, 0
    rows = {
        route: {**row, "shared": row["shared"] * weight}
        for (route, row), weight in zip(table.as_dict().items(), weights.tolist(), strict=True)
    }
    mean = np.mean([rows[ROUTES[route]]["shared"] for route in routes[routes >= 0].tolist()])
    if mean > 0:
        for row in rows.values():
            row["shared"] /= float(mean)
    return RouteTable(rows)
