"""What a method is: a route table, a reward source, auxiliary losses, and a network."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from agents.losses import AuxiliaryLoss
from agents.policy import Network
from agents.reward_model import SourceFactory, paid
from agents.rollout_buffer import HIDDEN, NEGATIVE, POSITIVE, ROUTES, Assignment, Routes
from oversight.routing import RouteTable

Reward = Literal["observed", "proxy", "true"]
Reweighting = Callable[[RouteTable, Routes, float], RouteTable]
"""From a table, the routes of a rollout's steps, and the probability that an end is observed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """One way to learn under partial oversight.

    Attributes:
        name: the word that selects it.
        summary: one sentence for a help page.
        reward: what the environment must pay it: the `observed` reward with the proxy where it is
            hidden, the `proxy` alone, or the `true` reward, which only an oracle may see.
        table: the weight of each route's gradient at each target.
        source: makes the reward source of an agent: what it learns from, given what is paid.
        auxiliary: losses that it adds to PPO's.
        network: the parts of its network.
        assignment: which routes episodes take; those of their own outcomes by default.
        reweighting: how the table is weighted for the episodes of a rollout, if it is.
        needs_propensity: whether it needs the probability that the end of an episode is observed.
    """

    name: str
    summary: str
    reward: Reward
    table: RouteTable
    source: SourceFactory = paid
    auxiliary: tuple[AuxiliaryLoss, ...] = ()
    network: Network = field(default_factory=Network)
    assignment: Assignment | None = None
    reweighting: Reweighting | None = None
    needs_propensity: bool = False

    @property
    def modules(self) -> tuple[str, ...]:
        """The names of its motivation modules, one or two."""
        return self.network.modules

    @property
    def deployed(self) -> str:
        """The motivation module that acts after training."""
        return self.network.modules[0]

    @property
    def needs_gates(self) -> bool:
        """Whether any gradient is weighted, so that a network without gates could not learn it."""
        ones = self.table.passed == frozenset(self.table.target_names)
        tables = [each.table for each in self.auxiliary if each.table is not None]
        return not ones or bool(tables) or self.reweighting is not None

    def table_for(self, routes: Callable[[], Routes], propensity: float | None) -> RouteTable:
        """Return the table of one rollout.

        Args:
            routes: returns the routes of the rollout's steps, [steps, lanes].
            propensity: probability that the end of an episode is observed.
        """
        if self.reweighting is None:
            return self.table
        assert propensity is not None, "RoutedPPO refuses such a method without a propensity"
        return self.reweighting(self.table, routes(), propensity)


def inverse_propensity(table: RouteTable, routes: Routes, propensity: float) -> RouteTable:
    """Return a table whose target `shared` has inverse-propensity weights (Horvitz, Thompson 1952).

    An episode that was observed stands for the `1 / propensity` that ended alike, one that was
    hidden for none, and one that ended at no terminal for itself. The weights are divided by their
    mean over the rollout, so that the size of a step does not depend on the propensity. Where
    nothing has weight, nothing is learned.

    Args:
        table: weights by which these are multiplied.
        routes: of the steps of a rollout, of any shape; negative ones are no data.
        propensity: probability that the end of an episode is observed.

    >>> ones = RouteTable({route: {"shared": 1} for route in ROUTES})
    >>> routes = np.array([0, 2, 2, 2, 3], dtype=np.int8)
    >>> [row["shared"] for row in inverse_propensity(ones, routes, 0.25).as_dict().values()]
    [4.0, 4.0, 0.0, 1.0]
    """
    weights = np.ones(len(ROUTES))
    weights[[POSITIVE, NEGATIVE]], weights[HIDDEN] = 1 / propensity, 0
    rows = {
        route: {**row, "shared": row["shared"] * weight}
        for (route, row), weight in zip(table.as_dict().items(), weights.tolist(), strict=True)
    }
    mean = np.mean([rows[ROUTES[route]]["shared"] for route in routes[routes >= 0].tolist()])
    if mean > 0:
        for row in rows.values():
            row["shared"] /= float(mean)
    return RouteTable(rows)
