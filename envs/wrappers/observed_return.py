"""The spread of observed discounted returns, which sets the scale of rewards."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
COUNT, MEAN, SQUARES = range(3)


class ObservedReturn:
    """The discounted sum of each lane's observed rewards, and the deviation of all sums so far.

    The step of a lane that nobody observed is passed over: it neither discounts nor counts.

    Args:
        lanes: Number of lanes.
        gamma: Discount factor, in [0, 1].

    Raises:
        ValueError: If the discount is out of its range.

    >>> returns, watched = ObservedReturn(1, gamma=0.5), np.array([True])
    >>> for reward in (4.0, 2.0):  # sums of 4 and of 0.5 * 4 + 2
    ...     returns.add(watched, np.array([reward]))
    >>> returns.scale
    1.0
    >>> returns.add(watched, np.array([8.0]))  # a sum of 10
    >>> round(returns.scale ** 2, 9)
    8.0
    """

    def __init__(self, lanes: int, gamma: float) -> None:
        if not 0 <= gamma <= 1:
            raise ValueError(f"gamma must lie in [0, 1], got {gamma}")
        self.gamma = gamma
        self.running = np.zeros(lanes)
        self.statistics = np.zeros(3)  # the number of sums, their mean, their squared distances

    @property
    def scale(self) -> float:
        """The deviation of the sums, or 1.0 while all of them are equal."""
        count, _, squares = self.statistics.tolist()
        return float(np.sqrt(squares / count)) if squares > 0 else 1.0

    def add(self, observed: Mask, rewards: NDArray[Any], count: bool = True) -> None:
        """Add one step's observed rewards to the sums, and the sums to the statistics.

        Args:
            observed: Whether each lane's step was observed, [n].
            rewards: What was observed of each lane, [n]; read nowhere else.
            count: Whether the statistics learn from it.
        """
        lanes = observed.nonzero()[0]
        if not lanes.size:
            return
        sums = self.running[lanes] * self.gamma + rewards[lanes]
        self.running[lanes] = sums
        if count:
            self._merge(sums)

    def end(self, lanes: Mask | slice) -> None:
        """Begin new sums in some lanes."""
        self.running[lanes] = 0.0

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Copy the sums, [n], and the statistics of all lanes, [3]."""
        return {"observed_return": self.running.copy(), "return_statistics": self.statistics.copy()}

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Go on where `get_state` was called; return the rest of the state.

        Raises:
            ValueError: If the state is not one of as many lanes.
        """
        rest = dict(state)
        for name, held in (
            ("observed_return", self.running),
            ("return_statistics", self.statistics),
        ):
            given = rest.pop(name, None)
            if not isinstance(given, np.ndarray) or given.shape != held.shape:
                raise ValueError(
                    f"the state must hold {name} of shape {held.shape}, got {given!r}: it must "
                    "come from get_state of a NormalizeObservedReward with as many lanes"
                )
            held[:] = given
        return rest

    def _merge(self, sums: NDArray[np.float64]) -> None:
        """Add a batch to the statistics (Chan, Golub and LeVeque 1983)."""
        count, mean, squares = self.statistics.tolist()
        total = count + sums.size
        distance = sums.mean() - mean
        self.statistics[COUNT] = total
        self.statistics[MEAN] = mean + distance * sums.size / total
        within = np.square(sums - sums.mean()).sum()
        self.statistics[SQUARES] = squares + within + distance**2 * count * sums.size / total
