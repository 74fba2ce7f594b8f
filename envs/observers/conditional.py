"""Observers that depend on what happens: regions of the observation space, and queries."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import ArrayLike

from envs.observers.observer import (
    Decision,
    InformationLevel,
    Mask,
    Observer,
    StepContext,
    check_function,
    check_mask,
)


@dataclass(frozen=True)
class Region(Observer):
    """Observes the steps that start, or arrive, where a predicate holds.

    `~Region(...)` is a region that is never observed; `Region(...) & StepCoin(0.1)` is observed
    rarely.

    >>> cart_is_left = Region(lambda observation: observation[:, 0] < 0)

    Args:
        contains: Function of the environment's observations, [n, ...] (n = 1 in the single
            wrapper), that returns n booleans.
        at: `"start"` applies it to the observation in which the agent acts, `"arrival"` to the
            one after the step, which no flag can announce.
    """

    contains: Callable[[Any], ArrayLike]
    at: Literal["start", "arrival"] = "start"

    def __post_init__(self) -> None:
        check_function(self.contains, "Region's predicate", ("observation",))
        if self.at not in ("start", "arrival"):
            raise ValueError(f"at must be 'start' or 'arrival', got {self.at!r}")

    @property
    def information_level(self) -> InformationLevel:
        """It reads observations."""
        return InformationLevel.OBSERVATION if self.at == "start" else InformationLevel.ARRIVAL

    def decide(self, context: StepContext) -> Decision:
        """Apply the predicate."""
        read = context.observation if self.at == "start" else context.arrival
        inside = self.contains(read)
        return Decision(check_mask(inside, context.seed.shape, "Region's predicate"))


@dataclass(frozen=True)
class Query(Observer):
    """Observes an episode from the step on with which the overseer is queried.

    The first query of an episode costs `cost`, which is subtracted once from what that step pays
    (not from `observed_reward`). Later queries are free and change nothing. The cost is paid even
    if another observer keeps the step hidden, as in `Query() & EpisodeCoin(0.5)`.

    Without a rule the agent queries: the action space `Discrete(n)` becomes `Discrete(2 * n)`, in
    which action a + n is action a with a query. An observer contains at most one `Query`.

    Args:
        cost: Cost of an episode's first query, finite and at least 0.
        rule: Queries in place of the agent: a function of the observations before the step,
            [n, ...], that returns n booleans.
    """

    cost: float = 0.1
    rule: Callable[[Any], ArrayLike] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.cost, int | float) or not 0 <= self.cost < math.inf:
            raise ValueError(f"cost must be a finite number of at least 0, got {self.cost!r}")
        if self.rule is not None:
            check_function(self.rule, "Query's rule", ("observation",))

    @property
    def information_level(self) -> InformationLevel:
        """It reads the agent's action, or the observation that its rule reads."""
        return InformationLevel.ACTION if self.rule is None else InformationLevel.OBSERVATION

    def decide(self, context: StepContext) -> Decision:
        """Observe the lanes whose overseer was queried."""
        return Decision(context.asked)

    def asks(self, observation: Any, num_lanes: int) -> Mask:  # noqa: ANN401
        """Return whether the rule queries the overseer in each lane, [n]."""
        assert self.rule is not None
        return check_mask(self.rule(observation), (num_lanes,), "Query's rule")
