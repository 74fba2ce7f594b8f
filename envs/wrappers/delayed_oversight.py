"""DelayedOversight: observed rewards are shown and paid some steps or episodes later.

Pending rewards are a queue, which is not a pure function of the step's context, so that a delay is
a wrapper and not an observer.
"""

from abc import ABC, abstractmethod
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from envs.observers.observer import Mask, check_count
from envs.wrappers.checks import check_shows_oversight, if_given

Lanes = slice | NDArray[np.bool_]
Shown = tuple[Mask, NDArray[np.float64]]  # whether an observed reward is in it, and the sum, [n]


class Delay(ABC):
    """Takes the observed rewards of each step of each lane, and returns what is shown then."""

    def __init__(self, num_lanes: int, length: int) -> None:
        self._observed = np.zeros((num_lanes, length), dtype=np.bool_)
        self._rewards = np.zeros((num_lanes, length))
        self._place = np.zeros(num_lanes, dtype=np.intp)  # where the two above are written next
        self._lanes = np.arange(num_lanes)
        # All that the future depends on, each with one row a lane.
        self.arrays: dict[str, NDArray[np.generic]] = {
            "delayed_observed": self._observed,
            "delayed_rewards": self._rewards,
            "delayed_place": self._place,
        }

    @abstractmethod
    def begin(self, lanes: Lanes) -> None:
        """Go to the next episode of some lanes."""

    def restart(self, lanes: Lanes) -> None:
        """Forget all pending rewards of some lanes."""
        self._observed[lanes], self._rewards[lanes] = False, 0.0

    @abstractmethod
    def show(self, observed: Mask, rewards: NDArray[np.float64], ended: Mask) -> Shown:
        """Store what was observed at a step, [n] each, and return what is shown at it."""


class StepDelay(Delay):
    """Shows a step some steps later, and all pending ones on the last step of the episode."""

    def begin(self, lanes: Lanes) -> None:
        """Forget the previous episode, which was shown in full unless it was cut short."""
        self.restart(lanes)

    def show(self, observed: Mask, rewards: NDArray[np.float64], ended: Mask) -> Shown:
        """Replace the oldest step by this one; in lanes that ended, show all pending steps."""
        at = self._lanes, self._place
        observed_then, shown = self._observed[at], self._rewards[at]
        self._observed[at], self._rewards[at] = observed, rewards
        self._place[:] = (self._place + 1) % self._rewards.shape[1]
        if ended.any():
            order = self._place[ended, None] + np.arange(self._rewards.shape[1])
            pending = self._rewards[ended][np.arange(len(order))[:, None], order % order.shape[1]]
            # `cumsum` adds one after the other: the same bits in any number of lanes.
            parts = np.concatenate([shown[ended, None], pending], axis=1)
            shown[ended] = np.cumsum(parts, axis=1)[:, -1]
            observed_then[ended] |= self._observed[ended].any(axis=1)
        return observed_then, shown


class EpisodeDelay(Delay):
    """Shows an episode's observed return on the last step of an episode some episodes later."""

    def __init__(self, num_lanes: int, episodes: int) -> None:
        super().__init__(num_lanes, episodes + 1)  # the running episode has a place, too

    def begin(self, lanes: Lanes) -> None:
        """Store the previous episode, and forget the oldest."""
        self._place[lanes] = (self._place[lanes] + 1) % self._rewards.shape[1]
        at = self._lanes[lanes], self._place[lanes]
        self._observed[at], self._rewards[at] = False, 0.0

    def show(self, observed: Mask, rewards: NDArray[np.float64], ended: Mask) -> Shown:
        """Add the step to its episode; in lanes that ended, show the oldest pending episode."""
        at = self._lanes, self._place
        self._observed[at] |= observed
        self._rewards[at] += rewards
        oldest = self._lanes, (self._place + 1) % self._rewards.shape[1]
        due = self._observed[oldest] & ended
        return due, np.where(due, self._rewards[oldest], 0.0)


def choose_delay(steps: int | None, episodes: int | None, num_lanes: int) -> Delay:
    """Return a delay by steps or by episodes.

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


ALL = slice(None)


class DelayedOversight(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Shows and pays observed rewards some steps or some episodes later.

    It goes around `PartialOversight` or `PartialGrid-v0`, and delays what these show: `observed`
    and `observed_reward` in `info`, and that part of the reward. It reads nothing else, so that it
    cannot leak hidden rewards. What hidden steps pay, and the cost of a query, are paid at once.

    - `steps=k`: the observed reward of step t is shown at step t + k of the same episode. Those
      still pending when the episode ends are shown on its last step, as a sum.
    - `episodes=k`: the sum of the observed rewards of episode e is shown on the last step of
      episode e + k, and nowhere else. An episode that is reset before its end counts, but has no
      last step, so that rewards due there are never shown.

    `observed` says whether an observed reward is in what is shown. A seeded reset forgets all
    pending rewards.

    >>> from envs import PartialOversight
    >>> cart = PartialOversight(gym.make("CartPole-v1"), observed_probability=1.0)
    >>> env = DelayedOversight(cart, steps=2)
    >>> _ = env.reset(seed=0)
    >>> [env.step(0)[1] for _ in range(3)]
    [0.0, 0.0, 1.0]

    Args:
        env: An environment whose info says what is observed.
        steps: Steps of delay, at least 1.
        episodes: Episodes of delay, at least 1, instead of steps.

    Raises:
        ValueError: If not exactly one delay is given, a wrapper inside changes or stores observed
            rewards, or info does not contain them.
    """

    def __init__(
        self, env: gym.Env[Any, Any], *, steps: int | None = None, episodes: int | None = None
    ) -> None:
        RecordConstructorArgs.__init__(self, steps=steps, episodes=episodes)
        gym.Wrapper.__init__(self, env)
        self._pays = check_shows_oversight(env)
        self._delay = choose_delay(steps, episodes, 1)
        self._started = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode.

        Raises:
            ValueError: If info does not say what is observed.
        """
        observation, info = self.env.reset(seed=seed, **if_given(options))
        check_infos(info)
        if seed is None and self._started:
            self._delay.begin(ALL)
        else:
            self._delay.restart(ALL)
        self._started = True
        return observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Take a step, store its observed reward, and show what is due.

        Raises:
            ResetNeeded: Before the first reset.
            ValueError: If info does not say what is observed.
        """
        observation, reward, terminated, truncated, info = self.env.step(action)
        if not self._started:
            raise ResetNeeded("no episode is running: call reset() before step()")
        check_infos(info)
        observed = bool(info["observed"])
        seen = float(info["observed_reward"]) if observed else 0.0
        shown, due = self._delay.show(
            np.array([observed]), np.array([seen]), np.array([terminated or truncated])
        )
        paid = float(reward)
        if self._pays:
            paid = paid - seen if observed else paid
            paid = paid + float(due[0]) if shown[0] else paid
        late = {"observed": bool(shown[0]), "observed_reward": float(due[0])}
        return observation, paid, terminated, truncated, {**info, **late}


def check_infos(info: dict[str, Any]) -> None:
    """Raise a ValueError if info does not say what is observed."""
    if missing := {"observed", "observed_reward"} - info.keys():
        raise ValueError(
            f"DelayedOversight needs an environment whose info says what is observed, got one "
            f"without {sorted(missing)}: the right order is DelayedOversight(PartialOversight(env))"
        )
