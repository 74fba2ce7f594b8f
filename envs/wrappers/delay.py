"""Delays: what was seen in each lane, held back for some steps or some episodes.

A queue is no pure function of the moment, so that a delay is no observer.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from envs.observers.function import check_count
from envs.observers.observer import Mask

Lanes = slice | NDArray[np.bool_]
Shown = tuple[Mask, NDArray[np.float64]]  # whether anything was observed, and its sum, [n] each


class Delay(Protocol):
    """Takes what was seen at each step of each lane and gives back what is shown at it."""

    arrays: dict[str, NDArray[np.generic]]
    """All that the future depends on, each with one row a lane."""

    def begin(self, lanes: Lanes) -> None:
        """Go to the next episode of some lanes."""

    def restart(self, lanes: Lanes) -> None:
        """Forget all that some lanes have seen."""

    def show(self, observed: Mask, rewards: NDArray[np.float64], ended: Mask) -> Shown:
        """Hold what was seen at a step, [n] each, and return what is shown at it."""


def choose_delay(steps: int | None, episodes: int | None, num_lanes: int) -> Delay:
    """Return the delay by steps or by episodes.

    Raises:
        ValueError: If not exactly one is given, or it is not an integer of at least 1.
    """
    if (steps is None) == (episodes is None):
        raise ValueError(
            f"DelayedOversight needs steps or episodes, one of them and not both, got "
            f"steps={steps!r} and episodes={episodes!r}"
        )
    if steps is not None:
        check_count(steps, "steps", 1)
        return StepDelay(num_lanes, int(steps))
    assert episodes is not None
    check_count(episodes, "episodes", 1)
    return EpisodeDelay(num_lanes, int(episodes))


class StepDelay:
    """Shows a step so many steps later, and what is still held on the last step of its episode."""

    def __init__(self, num_lanes: int, steps: int) -> None:
        self._observed = np.zeros((num_lanes, steps), dtype=np.bool_)
        self._rewards = np.zeros((num_lanes, steps))
        self._place = np.zeros(num_lanes, dtype=np.intp)  # of the oldest, in the two above
        self._lanes = np.arange(num_lanes)
        self.arrays = {
            "delayed_observed": self._observed,
            "delayed_rewards": self._rewards,
            "delayed_place": self._place,
        }

    def begin(self, lanes: Lanes) -> None:
        """Forget the episode that is over; all of it was shown, unless it was cut short."""
        self._observed[lanes] = False
        self._rewards[lanes] = 0.0

    restart = begin

    def show(self, observed: Mask, rewards: NDArray[np.float64], ended: Mask) -> Shown:
        """Exchange the oldest step for this one; in lanes that ended, show all that are held."""
        at = self._lanes, self._place
        told, shown = self._observed[at], self._rewards[at]
        self._observed[at], self._rewards[at] = observed, rewards
        self._place[:] = (self._place + 1) % self._rewards.shape[1]
        if ended.any():
            order = self._place[ended, None] + np.arange(self._rewards.shape[1])
            held = self._rewards[ended][np.arange(len(order))[:, None], order % order.shape[1]]
            # One after the other from the oldest on: the same bits in any number of lanes.
            parts = np.concatenate([shown[ended, None], held], axis=1)
            shown[ended] = np.cumsum(parts, axis=1)[:, -1]
            told[ended] |= self._observed[ended].any(axis=1)
        return told, shown


class EpisodeDelay:
    """Shows the observed return of an episode on the last step of one so many episodes later."""

    def __init__(self, num_lanes: int, episodes: int) -> None:
        self._observed = np.zeros((num_lanes, episodes + 1), dtype=np.bool_)
        self._rewards = np.zeros((num_lanes, episodes + 1))
        self._place = np.zeros(num_lanes, dtype=np.intp)  # of the running episode in the two above
        self._lanes = np.arange(num_lanes)
        self.arrays = {
            "delayed_observed": self._observed,
            "delayed_rewards": self._rewards,
            "delayed_place": self._place,
        }

    def begin(self, lanes: Lanes) -> None:
        """Keep the episode that is over, and forget the oldest."""
        self._place[lanes] = (self._place[lanes] + 1) % self._rewards.shape[1]
        at = self._lanes[lanes], self._place[lanes]
        self._observed[at], self._rewards[at] = False, 0.0

    def restart(self, lanes: Lanes) -> None:
        """Forget every episode of some lanes."""
        self._observed[lanes], self._rewards[lanes] = False, 0.0

    def show(self, observed: Mask, rewards: NDArray[np.float64], ended: Mask) -> Shown:
        """Add the step to its episode; in lanes that ended, show the oldest episode held."""
        at = self._lanes, self._place
        self._observed[at] |= observed
        self._rewards[at] += rewards
        oldest = self._lanes, (self._place + 1) % self._rewards.shape[1]
        told = self._observed[oldest] & ended
        return told, np.where(told, self._rewards[oldest], 0.0)
