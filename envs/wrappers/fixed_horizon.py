"""FixedHorizon: episodes of one length, so that neither length nor end tells the outcome."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded


class FixedHorizon(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Give every episode exactly `horizon` steps, so that its end tells nothing.

    Where the environment ends before, the rest is absorbing: the last observation again, reward
    0.0, and actions without effect, valid or not. An episode that would go on is cut. Every
    episode ends on step `horizon` with `truncated`, and `terminated` is never True. The return over
    the horizon is unchanged.

    An info entry that comes only on the last step would tell the end again, so info has the entries
    named in `keep` and no other. They must come at reset and with every step; while absorbing they
    have the value that they had at reset, before anything was done.

    What this cannot hide is in the observation: that it stands still, and what it shows.

    Example:
        >>> env = FixedHorizon(gym.make("CartPole-v1"), horizon=50)
        >>> _ = env.reset(seed=0)
        >>> steps = [env.step(0)[1:] for _ in range(50)]
        >>> steps[10:12]  # the pole falls on the eleventh step
        [(1.0, False, False, {}), (0.0, False, False, {})]
        >>> steps[-1]
        (0.0, False, True, {})

    Args:
        env: The environment; its own time limit may be shorter or longer.
        horizon: Steps of every episode, at least 1.
        keep: Names of the info entries that pass.

    Raises:
        ValueError: If `horizon` is no such integer, or an entry of `keep` is missing at some step.
    """

    def __init__(self, env: gym.Env[Any, Any], horizon: int, *, keep: Sequence[str] = ()) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, horizon=horizon, keep=keep)
        gym.Wrapper.__init__(self, env)
        self.horizon = check_horizon(horizon)
        self.keep = check_keep(keep)
        self._elapsed = self.horizon
        self._absorbed = True
        self._start: dict[str, Any] = {}
        self._last: Any = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode of the environment."""
        observation, info = self.env.reset(seed=seed, options=options)
        info = kept(info, self.keep)
        self._elapsed = 0
        self._absorbed = False
        self._start = deepcopy(info)
        return observation, info

    def step(self, action: object) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step, or repeat the last observation after the end.

        Raises:
            ResetNeeded: Before the first reset, and after step `horizon`.
        """
        if self._elapsed >= self.horizon:
            raise ResetNeeded("no episode is running: call reset() before step()")
        if self._absorbed:
            observation, reward, info = deepcopy(self._last), 0.0, deepcopy(self._start)
        else:
            observation, paid, terminated, truncated, info = self.env.step(action)
            reward, info = float(paid), kept(info, self.keep)
            if terminated or truncated:
                self._absorbed, self._last = True, deepcopy(observation)
        self._elapsed += 1
        return observation, reward, False, self._elapsed == self.horizon, info


def check_horizon(horizon: int) -> int:
    """Return the horizon as an int.

    Raises:
        ValueError: If it is not an integer of at least 1.
    """
    if not isinstance(horizon, int | np.integer) or isinstance(horizon, bool) or horizon < 1:
        raise ValueError(f"horizon must be an integer of at least 1, got {horizon!r}")
    return int(horizon)


def check_keep(keep: Sequence[str]) -> tuple[str, ...]:
    """Return the names as a tuple.

    Raises:
        ValueError: If it is one string, or holds what is none.
    """
    if isinstance(keep, str) or not all(isinstance(name, str) for name in keep):
        raise ValueError(
            f'keep must be a sequence of names of info entries, as ["observed"], got {keep!r}'
        )
    return tuple(keep)


def kept(info: dict[str, Any], keep: tuple[str, ...]) -> dict[str, Any]:
    """Return the entries named and no other.

    Raises:
        ValueError: If one is missing.
    """
    missing = [name for name in keep if name not in info]
    if missing:
        raise ValueError(
            f"info has no entry {missing[0]!r}, only {sorted(info)}: what FixedHorizon keeps must "
            "come at reset and with every step, else its absence tells when the episode ended"
        )
    return {name: info[name] for name in keep}
