"""PartialOversight: any Gymnasium environment, of which only some steps show their reward."""

import math
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import RecordConstructorArgs

from envs import random_streams
from envs.observers import InformationLevel, Observer
from envs.wrappers.checks import check_inside
from envs.wrappers.options import (
    Proxy,
    Reward,
    Settings,
    add_flag,
    allowed,
    asking_space,
    choose_observer,
    flagged_space,
    lane_of_one,
    split_action,
)
from envs.wrappers.oversight_state import Flag, OversightState

Step = tuple[Any, float, bool, bool, dict[str, Any]]
ALL, NONE = slice(None), slice(0)


class PartialOversight(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Shows the reward of some steps and hides the others.

    An observed step pays the reward that the observer reports, which is the environment's unless
    the observer errs, a hidden one 0.0 or the proxy. The reward of a hidden step is never read:
    nothing that this wrapper returns or raises depends on it. `info` holds `observed` (bool: the
    step's reward was shown) and `observed_reward` (float: what was reported, 0.0 where hidden) on
    reset and every step, and nothing else that is not allowed by name.

    Oversight is a pure function of the seed given to `reset`, of `seed`, and of the numbers of
    episode and step. It draws nothing from the environment: levels pair exactly across rates.
    `envs.wrappers.vector.PartialOversight` does the same for vector environments, lane by lane.

    >>> env = PartialOversight(gym.make("CartPole-v1"), observed_probability=0.0)
    >>> _ = env.reset(seed=0)
    >>> env.step(0)[1:]
    (0.0, False, False, {'observed': False, 'observed_reward': 0.0})

    Args:
        env: The environment. Wrappers that keep or show rewards belong outside.
        observed_probability: Chance that an episode is observed, 0.1 if no observer is given.
        observer: Who watches, instead of the coin: one of `envs.observers`.
        proxy: What a hidden step pays, a function of (previous observation, action, observation,
            terminated, truncated), each with a leading axis of lanes (of length 1 here), to one
            reward for each lane.
        reward: `"observed"` pays as said; `"proxy"` pays at every step what a hidden one pays,
            while `info` still says what was observed.
        flag: `"visible"` adds to each observation whether the step taken from it is observed, a
            `NoisyFlag` does so with errors.
        allow: Keys of the environment's own `info` to let through.
        seed: Chooses another oversight of the same levels.

    Raises:
        ValueError: If an argument is out of its range, or the environment cannot be made safe.
    """

    def __init__(  # noqa: PLR0913 (Gymnasium passes flat keyword arguments)
        self,
        env: gym.Env[Any, Any],
        *,
        observed_probability: float | None = None,
        observer: Observer | None = None,
        proxy: Proxy | None = None,
        reward: Reward = "observed",
        flag: Flag = "hidden",
        allow: tuple[str, ...] = (),
        seed: int | None = None,
    ) -> None:
        RecordConstructorArgs.__init__(
            self,
            observed_probability=observed_probability,
            observer=observer,
            proxy=proxy,
            reward=reward,
            flag=flag,
            allow=allow,
            seed=seed,
        )
        gym.Wrapper.__init__(self, env)
        check_inside(env)
        chosen = choose_observer(observed_probability, observer)
        self.settings = Settings(chosen, proxy, reward, flag, allow, seed)
        if self.settings.shows:
            self.observation_space = flagged_space(env.observation_space)
        self._doubles = self.settings.doubles
        if self._doubles:
            self.action_space = asking_space(env.action_space)
        self._clock = OversightState(chosen, 1, seed or 0, flag=flag)
        self._started = False
        self._watched = False
        self._plain = False
        self._seen: Any = None
        self._silent = np.zeros(1, dtype=np.bool_)  # no question

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start episode 0 of the seed's oversight, or its next episode."""
        observation, inner = self.env.reset(seed=seed, options=options)
        if seed is None and self._started:
            self._clock.begin(ALL)
        else:
            first = self.settings.first_seed() if seed is None else seed
            self._clock.restart(random_streams.lane_seeds(int(first), 1), ALL)
        self._started = True
        shown = self._look(observation)
        # With these settings a step needs no more than the coin of its episode.
        chosen = self.settings
        short = (
            chosen.observer.information_level == InformationLevel.EPISODE
            and self._clock.flips is None
        )
        pays = chosen.proxy is None and chosen.reward == "observed"
        self._plain = short and pays and not chosen.shows and not chosen.allow
        return shown, {
            **allowed(inner, chosen.allow),
            "observed": False,
            "observed_reward": 0.0,
        }

    def step(self, action: Any) -> Step:  # noqa: ANN401 (the environment's)
        """Take a step, and pay its reward if it is observed.

        Raises:
            ResetNeeded: Before the first reset.
            ValueError: If an observed reward is not a finite number, or the action has no meaning.
        """
        question = self._silent
        if self._doubles:
            actions, question = split_action(self.env.action_space, np.asarray(action)[None])  # type: ignore[arg-type]
            action = actions[0]
        observation, reward, terminated, truncated, inner = self.env.step(action)
        if self._plain:
            paid = _scalar(reward) if self._watched else 0.0
            info = {"observed": self._watched, "observed_reward": paid}
            return observation, paid, terminated, truncated, info
        if not self._started:
            raise ResetNeeded("no episode is running: call reset() before step()")
        arrival = lane_of_one(observation) if self.settings.reads else None
        if self._clock.information_level >= InformationLevel.ACTION:
            self._clock.look(self._seen, question, arrival)
        watched = bool(self._clock.watched[0])
        told = self._reported(_scalar(reward)) if watched else 0.0
        paid = told
        if not watched or self.settings.reward == "proxy":
            paid = self._guess(action, arrival, terminated, truncated)
        if self._clock.asks[0]:
            paid -= self.settings.price
        self._clock.tick(NONE)
        info = allowed(inner, self.settings.allow)
        info |= {"observed": watched, "observed_reward": told}
        return self._look(observation), paid, terminated, truncated, info

    def _reported(self, reward: float) -> float:
        """Return what the overseer says of an observed reward."""
        flips = self._clock.flips
        if flips is None or reward == 0.0:
            return reward
        wrong = flips.rewards if reward > 0 else flips.punishments
        return -reward if wrong[0] else reward

    def _guess(
        self,
        action: Any,  # noqa: ANN401
        arrival: Any,  # noqa: ANN401
        terminated: bool,
        truncated: bool,
    ) -> float:
        """Return what a hidden step pays."""
        if self.settings.proxy is None:
            return 0.0
        ends = (np.array([end], dtype=np.bool_) for end in (terminated, truncated))
        return float(self.settings.guess(self._seen, lane_of_one(action), arrival, *ends)[0])

    def _look(self, observation: Any) -> Any:  # noqa: ANN401
        """Decide about the step to come, and show the observation with its flag."""
        self._seen = lane_of_one(observation) if self.settings.reads else None
        self._clock.look(self._seen)
        self._watched = bool(self._clock.watched[0])
        if not self.settings.shows:
            return observation
        space = self.env.observation_space
        return add_flag(space, np.asarray(observation)[None], self._clock.cue)[0]


def _scalar(reward: SupportsFloat) -> float:
    """Return an observed reward as a float.

    Raises:
        ValueError: If it is not a finite number.
    """
    if np.ndim(reward) == 0:  # type: ignore[arg-type]
        try:
            value = float(reward)
        except (TypeError, ValueError):
            value = math.nan
        if math.isfinite(value):
            return value
    raise ValueError(
        f"PartialOversight needs a finite number as reward, the environment gave {reward!r}: mend "
        f"the environment, or replace its reward in a wrapper inside PartialOversight"
    )
