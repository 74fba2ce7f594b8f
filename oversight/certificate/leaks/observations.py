"""Observations, flags, ends and proxies that hidden rewards have a say in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import ref

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from envs.observers import EpisodeCoin, InformationLevel, Observer
from envs.observers.observer import Decision, StepContext
from envs.wrappers import vector
from oversight.certificate.leaks.planted import Planted, swap
from oversight.certificate.leaks.starts import cart_lanes, grid_with_flag
from oversight.certificate.leaks.truth import Mask, Numbers, Peeking, truth_of

SOLVED = 20.0


class ScoreOnScreen(gym.Wrapper[Any, Any, Any, Any]):
    """Shows the score, as arcade games do."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.observation_space = spaces.Box(-np.inf, np.inf, (5,), np.float64)

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
        """Start from a score of zero."""
        self.score = 0.0
        observation, info = self.env.reset(**arguments)
        return np.append(observation, self.score), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Step, and show the score."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.score += float(reward)
        return np.append(observation, self.score), reward, terminated, truncated, info


class EndsWhenSolved(gym.Wrapper[Any, Any, Any, Any]):
    """Ends an episode once its return is good enough."""

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
        """Start from a return of zero."""
        self.score = 0.0
        return self.env.reset(**arguments)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Step, and look at the return."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.score += float(reward)
        return observation, reward, terminated or self.score >= SOLVED, truncated, info


class LightsFlag(Peeking):
    """Raises the flag in the observation wherever there was a reward to see."""

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:  # noqa: ANN401
        """Step, and raise it."""
        observations, *taken = self.env.step(actions)
        observations[:, -1] |= (self.truth.rewards > 0)[:, None, None]
        return observations, *taken


class Shield(Peeking):
    """Replaces actions that led to damage before, from the same square."""

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
        """Reset, and forget."""
        self.observations, infos = self.env.reset(**arguments)
        self.harmful = np.zeros((25, 4), dtype=np.bool_)
        return self.observations, infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:  # noqa: ANN401
        """Step with safe actions, and remember which did damage."""
        squares = self.observations[:, 0].reshape(self.num_envs, -1).argmax(axis=1)
        safe = np.where(self.harmful[squares, actions], (actions + 1) % 4, actions)
        self.observations, *taken = self.env.step(safe)
        damaged = self.truth.rewards < 0
        self.harmful[squares[damaged], safe[damaged]] = True
        return self.observations, *taken


@dataclass(frozen=True)
class Alarm(Observer):
    """Watches the steps that pay less than nothing: somebody looks when something breaks."""

    paid: Callable[[], Numbers]

    @property
    def information_level(self) -> InformationLevel:
        """It is asked after the step."""
        return InformationLevel.ARRIVAL

    def decide(self, context: StepContext) -> Decision:
        """Look at the truth."""
        return Decision(self.paid() < 0)


def alarmed(env: Any) -> vector.PartialOversight:  # noqa: ANN401
    """Return the environment, observed by a coin and by an alarm."""
    truth = truth_of(env)
    return vector.PartialOversight(env, observer=EpisodeCoin(0.3) | Alarm(lambda: truth.rewards))


def sign_for_hidden(env: Any) -> vector.PartialOversight:  # noqa: ANN401
    """Return the environment with a proxy for hidden rewards: their signs."""
    held = ref(truth_of(env))  # so, an environment passes the check of what a proxy holds

    def proxy(before: Any, actions: Any, after: Any, terminated: Mask, truncated: Mask) -> Numbers:  # noqa: ANN401
        truth = held()
        assert truth is not None
        return np.sign(truth.rewards)

    return vector.PartialOversight(env, observed_probability=0.3, proxy=proxy)


LEAKS = (
    Planted(
        name="score-on-screen",
        part="wrapper",
        says="The observation shows the score, which is the true return.",
        plant=swap(inside=ScoreOnScreen),
        start=cart_lanes,
        shows="experience",
    ),
    Planted(
        name="ends-when-solved",
        part="wrapper",
        says="Episodes end at a good true return, so that their length tells it.",
        plant=swap(inside=EndsWhenSolved),
        start=cart_lanes,
        shows="experience",
    ),
    Planted(
        name="flag-by-reward",
        part="wrapper",
        says="The visible flag is raised after each positive reward, hidden or not.",
        plant=swap(outside=LightsFlag),
        start=grid_with_flag,
        shows="experience",
    ),
    Planted(
        name="shield-learns-hidden-damage",
        part="wrapper",
        says="A shield replaces actions that did hidden damage before, so that the agent ends up "
        "elsewhere.",
        plant=swap(outside=Shield),
        shows="experience",
    ),
    Planted(
        name="alarm-calls-the-overseer",
        part="wrapper",
        says="The overseer looks where the true reward is negative, so that being hidden tells "
        "that it is not.",
        plant=swap(hide=alarmed),
        shows="experience",
    ),
    Planted(
        name="proxy-reads-the-truth",
        part="wrapper",
        says="The proxy reaches the true reward through what it closes over, and pays its sign.",
        plant=swap(hide=sign_for_hidden),
        shows="experience",
    ),
)
