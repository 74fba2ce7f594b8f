"""DelayedOversight: what the overseer saw is told some steps or some episodes later."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import RecordConstructorArgs

from envs.wrappers.delay import choose_delay
from envs.wrappers.order import check_shows_oversight

ALL = slice(None)


class DelayedOversight(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Tell what was observed, and pay it, some steps or some episodes later.

    It goes around `PartialOversight`, or `PartialGrid-v0`, and delays what these show: `observed`
    and `observed_reward` in `info`, and that part of the reward. It sees nothing else, so that it
    cannot leak what is hidden. What a hidden step pays, and the price of a question, are paid at
    once.

    - `steps=k`: what step t showed is shown at step t + k of the same episode. What is still held
      when the episode ends is shown on its last step, as a sum.
    - `episodes=k`: what all steps of episode e showed is shown, as a sum, on the last step of
      episode e + k, nowhere else. An episode that is reset before its end counts as one, but has
      no last step, so that what was due there is never shown.

    `observed` says whether anything observed is in what is shown. A reset with a seed forgets all.
    A queue is not a pure function of the moment, so that this is a wrapper and no observer.

    >>> from envs import PartialOversight
    >>> cart = PartialOversight(gym.make("CartPole-v1"), observed_probability=1.0)
    >>> env = DelayedOversight(cart, steps=2)
    >>> _ = env.reset(seed=0)
    >>> [env.step(0)[1] for _ in range(3)]
    [0.0, 0.0, 1.0]

    Args:
        env: The environment whose info says what is observed.
        steps: Steps of delay, at least 1.
        episodes: Episodes of delay, at least 1, instead of steps.

    Raises:
        ValueError: If not one of both is given, a wrapper inside changes or keeps what was
            observed, or info does not say it.
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
        observation, info = self.env.reset(seed=seed, options=options)
        check_told(info)
        if seed is None and self._started:
            self._delay.begin(ALL)
        else:
            self._delay.restart(ALL)
        self._started = True
        return observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Take a step, hold what it showed, and show what is due.

        Raises:
            ResetNeeded: Before the first reset.
            ValueError: If info does not say what is observed.
        """
        observation, reward, terminated, truncated, info = self.env.step(action)
        if not self._started:
            raise ResetNeeded("no episode is running: call reset() before step()")
        check_told(info)
        observed = bool(info["observed"])
        seen = float(info["observed_reward"]) if observed else 0.0
        told, due = self._delay.show(
            np.array([observed]), np.array([seen]), np.array([terminated or truncated])
        )
        paid = float(reward)
        if self._pays:
            paid = paid - seen if observed else paid
            paid = paid + float(due[0]) if told[0] else paid
        late = {"observed": bool(told[0]), "observed_reward": float(due[0])}
        return observation, paid, terminated, truncated, {**info, **late}


def check_told(info: dict[str, Any]) -> None:
    """Refuse info that does not say what is observed.

    Raises:
        ValueError: If it does not.
    """
    if missing := {"observed", "observed_reward"} - info.keys():
        raise ValueError(
            f"DelayedOversight needs an environment whose info says what is observed, got one "
            f"without {sorted(missing)}: the right order is DelayedOversight(PartialOversight(env))"
        )
