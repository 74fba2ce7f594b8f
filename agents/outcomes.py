"""What the overseer saw of each lane's running episode, and the route that follows from it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.definition import ROUTES
from agents.options import Timeouts, require_choices
from agents.routes import DIAMOND, GHOST, HIDDEN, UNRESOLVED, UNUSED


class Outcomes:
    """The observed part of each lane's running episode.

    An episode is observed if any of its steps was. Its outcome is good, `diamond`, if the sum of
    its observed rewards is positive, and `ghost` if not. Rollouts may begin and end anywhere in it:
    the steps before a border are judged by what was seen up to there, those after it by all.

    Of an `info` only `observed`, `observed_reward` (read where `observed` is true), SB3's
    `TimeLimit.truncated` and the adapter's `resetting` are read; never a hidden reward.

    Args:
        lanes: number of lanes.
        timeouts: the route of an unobserved episode that a time limit cut, or that still runs when
            the rollout ends. `open` is right where unfinished episodes earn nothing: then nothing
            was hidden. Where every step pays use `hidden`, or rewards that nobody saw, paid as
            zeros, teach like observed ones.

    Raises:
        ValueError: if `timeouts` is neither.

    >>> outcomes, start, end = Outcomes(1), np.array([True]), np.array([True])
    >>> outcomes.step([{"observed": True, "observed_reward": -1.0}], ~end, start)
    array([-1], dtype=int8)
    >>> outcomes.step([{"observed": False}], end, ~start)
    array([1], dtype=int8)
    """

    def __init__(self, lanes: int, timeouts: Timeouts = "open") -> None:
        require_choices(timeouts=timeouts)
        self.observed = np.zeros(lanes, dtype=np.bool_)
        self.returns = np.zeros(lanes)
        self._cut = ROUTES.index(timeouts)

    def step(
        self,
        infos: Sequence[Mapping[str, Any]],
        dones: NDArray[np.bool_],
        starts: NDArray[np.bool_],
    ) -> NDArray[np.int8]:
        """Add what was seen of one step; return the route of each episode that it ends.

        Args:
            infos: of the step, one for each lane.
            dones: whether the step ended the episode, [lanes].
            starts: whether the step was the first of its episode, [lanes].

        Returns:
            [lanes], `UNRESOLVED` where the episode goes on and `UNUSED` where there was none.
        """
        self.observed[starts] = False
        self.returns[starts] = 0.0
        routes = np.full(len(infos), UNRESOLVED, dtype=np.int8)
        for lane, (info, done) in enumerate(zip(infos, dones.tolist(), strict=True)):
            if info:  # the adapter says nothing of most lanes
                if info.get("observed", False):
                    self.observed[lane] = True
                    self.returns[lane] += info["observed_reward"]
                if info.get("resetting", False):
                    routes[lane] = UNUSED
            if done:
                routes[lane] = self._route(lane, info.get("TimeLimit.truncated", False))
        return routes

    def unfinished(self) -> NDArray[np.int8]:
        """Return the route of each lane's episode if the rollout ends here, [lanes]."""
        lanes = range(len(self.observed))
        return np.array([self._route(lane, cut=True) for lane in lanes], dtype=np.int8)

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Copy what was seen of the running episodes."""
        return {"observed": self.observed.copy(), "returns": self.returns.copy()}

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on where `get_state` was called."""
        self.observed[:], self.returns[:] = state["observed"], state["returns"]

    def _route(self, lane: int, cut: bool) -> int:
        if self.observed[lane]:
            return DIAMOND if self.returns[lane] > 0 else GHOST
        return self._cut if cut else HIDDEN
