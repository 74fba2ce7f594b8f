"""PartialOversight: hides the rewards of all steps that an observer does not observe."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import RecordConstructorArgs

from envs.observers import Observer
from envs.observers.observer import Mask
from envs.wrappers.checks import (
    as_entry,
    as_finite,
    as_float,
    check_inside,
    check_tells_nothing,
    if_given,
)
from envs.wrappers.oversight import Flag, Oversight, Proxy, Reward
from envs.wrappers.spaces import add_one_flag, asking_space, flagged_space, split_action

Step = tuple[Any, float, bool, bool, dict[str, Any]]
ALL = slice(None)


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
            returns one reward for each lane; or the name of an entry of the environment's own
            `info`, a number at every step.
        reward: `"observed"` pays as described above. `"proxy"` pays every step like a hidden one.
            `"true"` pays the environment's own reward at every step, for oracles and evaluation
            only. `info` is the same for all three.
        flag: `"visible"` adds to each observation whether the step taken from it will be observed,
            a `NoisyFlag` adds that with errors: an entry of a vector, a plane of an image, the key
            `observed` of a `Dict`, the last item of a `Tuple`; see `flagged_space`.
        allow: Keys of the environment's own `info` that are kept; names of rewards and returns,
            such as `true_reward`, are refused.
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
        arguments: dict[str, Any] = {
            "observed_probability": observed_probability,
            "observer": observer,
            "proxy": proxy,
            "reward": reward,
            "flag": flag,
            "allow": allow,
            "seed": seed,
        }
        RecordConstructorArgs.__init__(self, **arguments)
        gym.Wrapper.__init__(self, env)
        self._truth_inside = check_inside(env)
        self.oversight = Oversight(1, **arguments)
        if self.oversight.has_flag:
            self.observation_space = flagged_space(env.observation_space)
        if self.oversight.agent_asks:
            self.action_space = asking_space(env.action_space)
        self._decides_late = self.oversight.decides_late
        self._reads = self.oversight.reads_observations
        # Whether a decision or a flag must follow every step, and not only every reset.
        self._looks = self._reads or self.oversight.has_flag or not self.oversight.by_episode
        # Whether a step pays its report, so that no array is needed unless the report errs.
        self._pays_reports = reward == "observed" and proxy is None and not self.oversight.query
        self._needs_arrays = True
        self._allow = allow
        # Whether a step only pays its reward or hides it, as under a coin tossed by episode.
        self._plain = False
        self._none = np.zeros(1, dtype=np.bool_)
        self._observed: bool | None = None  # whether the next step is, None before the first reset
        self._previous: Any = None  # the observation before the next step, if it is read

    @property
    def paid_reward(self) -> Reward:
        """What its steps pay: the argument `reward`, by which a learner can refuse another one."""
        return self.oversight.reward

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start episode 0 of the seed's oversight, or the next episode of the running one."""
        observation, info = self.env.reset(seed=seed, **if_given(options))
        if not self._truth_inside:
            check_tells_nothing(info)
        self.oversight.reset(None if seed is None else int(seed), ALL)
        infos = self.oversight.select_infos(info)
        return self._look(observation), infos | {"observed": False, "observed_reward": 0.0}

    def step(self, action: Any) -> Step:  # noqa: ANN401 (the environment's)
        """Take a step, and pay its reward if it is observed.

        Raises:
            ResetNeeded: Before the first reset.
            ValueError: If an observed reward is not a finite number, or the action is not one of
                the action space with queries.
        """
        if self._plain:
            observation, reward, terminated, truncated, _ = self.env.step(action)
            paid = as_finite(reward, "PartialOversight") if self._observed else 0.0
            info = {"observed": self._observed, "observed_reward": paid}
            return observation, paid, terminated, truncated, info
        return self._step(action)

    def _step(self, action: Any) -> Step:  # noqa: ANN401
        """Take a step of which more is read, decided, paid or shown than its reward."""
        if self._observed is None:
            raise ResetNeeded("no episode is running: call reset() before step()")
        question = None
        if self._decides_late:
            action, question = self._split_query(action)
        observation, reward, terminated, truncated, inner = self.env.step(action)
        arrival = None
        if self._reads:
            arrival = as_batch(observation)
            if self._decides_late:
                self.oversight.look(self._previous, question, arrival)
                self._observed = bool(self.oversight.observed[0])
        reported = paid = as_finite(reward, "PartialOversight") if self._observed else 0.0
        if self._needs_arrays:
            true = as_float(reward, "PartialOversight") if self.paid_reward == "true" else reported
            ends = np.array([[terminated], [truncated]])
            step = (self._previous, as_batch(action), arrival, *ends)
            reported, paid = self._pay(true, step, inner)
        info = {"observed": self._observed, "observed_reward": reported}
        if self._allow:
            info = self.oversight.select_infos(inner) | info
        if self._looks:
            self.oversight.advance(self._none)
            observation = self._look(observation)
        return observation, paid, terminated, truncated, info

    def _split_query(self, action: Any) -> tuple[Any, Mask]:  # noqa: ANN401
        """Return the environment's action, and whether it came with a query, [1]."""
        if not self.oversight.agent_asks:
            return action, self._none
        actions, question = split_action(self.env.action_space, np.asarray(action)[None])  # type: ignore[arg-type]
        return actions[0], question

    def _pay(
        self, reward: float, step: tuple[Any, ...], info: dict[str, Any]
    ) -> tuple[float, float]:
        """Return what is reported of a step, and what it pays."""
        rewards, observed = np.array([reward]), self.oversight.observed
        reported = self.oversight.report(rewards, observed)
        name = self.oversight.proxy_entry
        entry = None if name is None else [as_entry(info, name)]
        paid = self.oversight.pay(
            rewards, reported, observed, step, resting=self._none, entry=entry
        )
        return float(reported[0]), float(paid[0])

    def _look(self, observation: Any) -> Any:  # noqa: ANN401
        """Decide about the next step, and return the observation with its flag."""
        if self._reads:
            self._previous = as_batch(observation)
        self.oversight.look(self._previous)
        self._observed = bool(self.oversight.observed[0])
        errs = self.oversight.flips is not None or self.oversight.noise is not None
        # An observer that decides late has not yet said whether its next report errs.
        self._needs_arrays = errs or self._decides_late or not self._pays_reports
        self._plain = not (self._needs_arrays or self._allow or self._looks)
        if not self.oversight.has_flag:
            return observation
        space = self.env.observation_space
        return add_one_flag(space, observation, self.oversight.shown)


def as_batch(value: Any) -> Any:  # noqa: ANN401 (of any space)
    """Return a copy of an observation or action with a leading axis of one lane."""
    if isinstance(value, dict):
        return {key: as_batch(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(as_batch(part) for part in value)
    return np.array(value)[None]
