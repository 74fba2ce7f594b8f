"""Region: a step is observed where a predicate holds of what the agent sees."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import ArrayLike

from envs.observers.function import check_function, check_mask
from envs.observers.observer import Decision, Moment, Observer, Scope


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
    def scope(self) -> Scope:
        """It reads observations."""
        return Scope.OBSERVATION if self.at == "start" else Scope.ARRIVAL

    def decide(self, moment: Moment) -> Decision:
        """Ask the predicate."""
        seen = moment.observation if self.at == "start" else moment.arrival
        watched = self.contains(seen)
        return Decision(check_mask(watched, moment.seed.shape, "Region's predicate"))
