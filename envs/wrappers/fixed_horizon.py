"""FixedHorizon: episodes of one length, so that neither length nor end reveals the outcome."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import gymnasium as gym
from gymnasium.error import ResetNeeded

from envs.observers.observer import check_count
from envs.wrappers.checks import as_float, if_given


class FixedHorizon(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Gives every episode exactly `horizon` steps, so that its end reveals nothing.

    If the environment ends earlier, the remaining steps are absorbing: they repeat the last
    observation, pay 0.0 and ignore the action, valid or not. A longer episode is truncated. Every
    episode ends on step `horizon` with `truncated`, and `terminated` is never True. The return over
    the horizon is unchanged.

    An info entry that is present only on the last step would reveal the end, so info contains only
    the entries named in `keep`. They must be present at reset and at every step; on absorbing steps
    they have their values at reset.

    The observation may still reveal the outcome: by what it shows, and by standing still.

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
        keep: Names of the info entries that are kept.

    Raises:
        ValueError: If `horizon` is no such integer, or an entry of `keep` is missing at some step.
    """

    def __init__(self, env: gym.Env[Any, Any], horizon: int, *, keep: Sequence[str] = ()) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, horizon=horizon, keep=keep)
        gym.Wrapper.__init__(self, env)
        check_count(horizon, "horizon", 1)
        self.horizon = int(horizon)
        self.keep = check_keep(keep)
        self._elapsed = self.horizon
        self._absorbed = True
        self._start: dict[str, Any] = {}
        self._last: Any = None

    @property
    def absorbed(self) -> bool:
        """Whether the environment has ended, so that steps only repeat its last observation."""
        return self._absorbed

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode of the environment."""
        observation, info = self.env.reset(seed=seed, **if_given(options))
        info = select_entries(info, self.keep)
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
            reward, info = as_float(paid, "FixedHorizon"), select_entries(info, self.keep)
            if terminated or truncated:
                self._absorbed, self._last = True, deepcopy(observation)
        self._elapsed += 1
        return observation, reward, False, self._elapsed == self.horizon, info


def check_keep(keep: Sequence[str]) -> tuple[str, ...]:
    """Return names as a tuple, or raise a ValueError if they are not a sequence of strings."""
    if isinstance(keep, str) or not all(isinstance(name, str) for name in keep):
        raise ValueError(
            f'keep must be a sequence of names of info entries, as ["observed"], got {keep!r}'
        )
    return tuple(keep)


def select_entries(info: dict[str, Any], keep: tuple[str, ...]) -> dict[str, Any]:
    """Return the named entries of an info.

    Raises:
        ValueError: If one is missing.
    """
    missing = [name for name in keep if name not in info]
    if missing:
        raise ValueError(
            f"info has no entry {missing[0]!r}, only {sorted(info)}: what FixedHorizon keeps must "
            "be present at reset and at every step, else its absence reveals when the episode ended"
        )
    return {name: info[name] for name in keep}
