"""Region: a step is observed where a predicate holds of what the agent sees.

Query: the agent, or a rule, asks the overseer to watch, and pays for it.
"""

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
    """Watches the steps that start, or arrive, where a predicate holds.

    `~Region(...)` is the never-observed region; `Region(...) & StepCoin(0.1)` watches it rarely.

    >>> cart_is_left = Region(lambda observation: observation[:, 0] < 0)

    Args:
        contains: From the environment's observations, [n, ...] with n = 1 in the single wrapper,
            to n booleans.
        at: Whether it is asked of what the agent sees as it acts (`"start"`), or of what the step
            leads to (`"arrival"`), where rewards are paid but no flag can tell in advance.
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
        """Ask the predicate."""
        seen = context.observation if self.at == "start" else context.arrival
        watched = self.contains(seen)
        return Decision(check_mask(watched, context.seed.shape, "Region's predicate"))


@dataclass(frozen=True)
class Query(Observer):
    """Watches an episode from the step on with which the overseer is asked.

    The first question of an episode costs `cost`, taken once from what that step pays (not from
    `observed_reward`); later ones are free and change nothing. The cost is paid whether or not
    another observer lets the overseer come: `Query() & EpisodeCoin(0.5)`.

    Without a rule the agent asks: `Discrete(n)` becomes `Discrete(2 * n)`, in which action a + n is
    a, and the question with it. An observer has one `Query` at most.

    Args:
        cost: Of an episode in which the overseer is asked, finite and at least 0.
        rule: Asks instead of the agent, from what the agents see before the step, [n, ...], to n
            booleans.
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
        """It reads what the agent does, or what its rule reads."""
        return InformationLevel.ACTION if self.rule is None else InformationLevel.OBSERVATION

    def decide(self, context: StepContext) -> Decision:
        """Watch where the overseer was asked."""
        return Decision(context.asked)

    def asks(self, observation: Any, num_lanes: int) -> Mask:  # noqa: ANN401
        """Return where the rule asks, [n]."""
        assert self.rule is not None
        return check_mask(self.rule(observation), (num_lanes,), "Query's rule")
