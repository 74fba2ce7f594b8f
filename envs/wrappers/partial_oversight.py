"""PartialOversight: hides the rewards of all steps that an observer does not observe."""

import math
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import RecordConstructorArgs

from envs.observers import InformationLevel, Observer, random_streams
from envs.observers.observer import Mask
from envs.wrappers.checks import check_inside
from envs.wrappers.options import (
    Proxy,
    Reward,
    Settings,
    add_flag,
    as_batch,
    asking_space,
    choose_observer,
    flagged_space,
    select_infos,
    split_action,
)
from envs.wrappers.oversight_state import Flag, OversightState

Step = tuple[Any, float, bool, bool, dict[str, Any]]
ALL, NONE = slice(None), slice(0)


class PartialOversight(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Shows the reward of some steps and hides that of all others.

    An observed step pays the reward that the observer reports, which is the environment's reward
    unless the observer errs. A hidden step pays 0.0, or what `proxy` returns; its reward is never
    read, so that nothing this wrapper returns or raises depends on it. After `reset` and every
    step, `info` holds `observed` (bool: whether the step's reward was observed) and
    `observed_reward` (float: the reported reward, 0.0 for a hidden step), and otherwise only
    entries that `allow` names.

    Oversight is a pure function of the seed given to `reset`, of `seed`, and of the numbers of
    episode and step. It draws nothing from the environment, so that levels are the same at every
    observation rate. `envs.wrappers.vector.PartialOversight` does the same in every lane of a
    vector environment.

    >>> env = PartialOversight(gym.make("CartPole-v1"), observed_probability=0.0)
    >>> _ = env.reset(seed=0)
    >>> env.step(0)[1:]
    (0.0, False, False, {'observed': False, 'observed_reward': 0.0})

    Args:
        env: The environment. Wrappers that store or show rewards belong outside.
        observed_probability: Chance that an episode is observed; 0.1 if no observer is given.
        observer: One of `envs.observers`, instead of `observed_probability`.
        proxy: Reward of hidden steps: a function of (previous observation, action, observation,
            terminated, truncated), each with a leading axis of lanes (of length 1 here), that
            returns one reward for each lane.
        reward: `"observed"` pays as described above. `"proxy"` pays every step like a hidden one.
            `"true"` pays the environment's own reward at every step, for oracles and evaluation
            only. `info` is the same for all three.
        flag: `"visible"` adds to each observation whether the step taken from it will be observed;
            a `NoisyFlag` adds that with errors.
        allow: Keys of the environment's own `info` that are kept.
        seed: Selects another oversight of the same levels.

    Raises:
        ValueError: If an argument is out of its range, or a wrapper inside would leak rewards.
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
        if self.settings.has_flag:
            self.observation_space = flagged_space(env.observation_space)
        if self.settings.agent_asks:
            self.action_space = asking_space(env.action_space)
        self._state = OversightState(chosen, 1, seed or 0, flag=flag)
        by_episode = self._state.level == InformationLevel.EPISODE
        self._waits = self._state.level >= InformationLevel.ACTION  # decides only after the action
        self._reads = self.settings.reads_observations
        # Whether the observation must be looked at before the next step.
        self._looks = self._reads or self.settings.has_flag or not by_episode
        self._pays_reports = reward == "observed" and proxy is None and self.settings.query is None
        self._allow = allow
        self._started = False
        self._observed = False
        self._previous: Any = None  # the observation before the next step, if it is read

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start episode 0 of the seed's oversight, or the next episode of the running one."""
        observation, info = self.env.reset(seed=seed, options=options)
        if seed is None and self._started:
            self._state.begin(ALL)
        else:
            first = self.settings.first_seed() if seed is None else seed
            self._state.restart(random_streams.lane_seeds(int(first), 1), ALL)
        self._started = True
        infos = select_infos(info, self.settings.allow)
        return self._look(observation), infos | {"observed": False, "observed_reward": 0.0}

    def step(self, action: Any) -> Step:  # noqa: ANN401 (the environment's)
        """Take a step, and pay its reward if it is observed.

        Raises:
            ResetNeeded: Before the first reset.
            ValueError: If an observed reward is not a finite number, or the action is not one of
                the action space with queries.
        """
        if not self._started:
            raise ResetNeeded("no episode is running: call reset() before step()")
        question = None
        if self._waits:
            action, question = self._split_query(action)
        observation, reward, terminated, truncated, inner = self.env.step(action)
        arrival = as_batch(observation) if self._reads else None
        if self._waits:
            self._state.look(self._previous, question, arrival)
            self._observed = bool(self._state.observed[0])
        reported = paid = self._report(reward) if self._observed else 0.0
        if not self._pays_reports:
            paid = self._pay(reward, reported, (action, arrival, terminated, truncated))
        info = {"observed": self._observed, "observed_reward": reported}
        if self._allow:
            info = select_infos(inner, self._allow) | info
        if self._looks:
            self._state.advance(NONE)
            observation = self._look(observation)
        return observation, paid, terminated, truncated, info

    def _split_query(self, action: Any) -> tuple[Any, Mask]:  # noqa: ANN401
        """Return the environment's action, and whether it came with a query, [1]."""
        if not self.settings.agent_asks:
            return action, np.zeros(1, dtype=np.bool_)
        actions, question = split_action(self.env.action_space, np.asarray(action)[None])  # type: ignore[arg-type]
        return actions[0], question

    def _report(self, reward: SupportsFloat) -> float:
        """Return what the observer reports of an observed reward."""
        true = _check_reward(reward)
        flips = self._state.flips
        if flips is None or true == 0.0:
            return true
        flipped = flips.rewards if true > 0 else flips.punishments
        return -true if flipped[0] else true

    def _pay(self, reward: SupportsFloat, reported: float, step: tuple[Any, ...]) -> float:
        """Return what the step pays; `step` is the action, observation and ends of the step."""
        if self.settings.reward == "true":
            return float(reward)
        paid = reported
        if not self._observed or self.settings.reward == "proxy":
            paid = self._proxy_reward(*step)
        return paid - self.settings.price if self._state.asks[0] else paid

    def _proxy_reward(
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
        step = self._previous, as_batch(action), arrival, *ends
        return float(self.settings.proxy_rewards(*step)[0])

    def _look(self, observation: Any) -> Any:  # noqa: ANN401
        """Decide about the next step, and return the observation with its flag."""
        if self._reads:
            self._previous = as_batch(observation)
        self._state.look(self._previous)
        self._observed = bool(self._state.observed[0])
        if not self.settings.has_flag:
            return observation
        space = self.env.observation_space
        return add_flag(space, np.asarray(observation)[None], self._state.shown)[0]


def _check_reward(reward: SupportsFloat) -> float:
    """Return an observed reward as a float, or raise a ValueError if it is not a finite number."""
    value = math.nan
    if isinstance(reward, float) or np.ndim(reward) == 0:  # type: ignore[arg-type]
        try:
            value = float(reward)
        except (TypeError, ValueError):
            value = math.nan
    if math.isfinite(value):
        return value
    raise ValueError(
        f"PartialOversight needs a finite number as reward, the environment gave {reward!r}: "
        f"repair the environment, or replace its reward in a wrapper inside PartialOversight"
    )
