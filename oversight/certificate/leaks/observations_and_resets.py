"""Leaks by which hidden rewards change observations, episode ends, observed steps or resets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import ref

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from agents import VectorEnvAdapter
from envs import EpisodeCoin, PartialOversight
from envs.observers import InformationLevel, Observer
from envs.observers.observer import Decision, StepContext
from envs.wrappers import vector
from oversight.certificate.leaks.planted import (
    LaneTruth,
    Peeking,
    Step,
    leak,
    truth_of,
)
from oversight.certificate.setup import Setup
from oversight.certificate.tampering import Mask, Numbers

GOOD_RETURN = 20.0  # of an episode of CartPole


@leak(start="cart lanes")
class ScoreOnScreen(LaneTruth):
    """The observation contains the score, which is the true return."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.observation_space = spaces.Box(-np.inf, np.inf, (5,), np.float64)

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
        """Reset, and show a score of zero."""
        observation, info = super().reset(**arguments)
        return np.append(observation, self.true_return), info

    def step(self, action: Any) -> Step:  # noqa: ANN401
        """Step, and show the score."""
        observation, *rest = super().step(action)
        return np.append(observation, self.true_return), *rest


@leak(start="cart lanes")
class EndsWhenSolved(LaneTruth):
    """Episodes end at a good true return, so that their length depends on it."""

    def step(self, action: Any) -> Step:  # noqa: ANN401
        """Step, and end the episode if its return is good."""
        observation, reward, terminated, truncated, info = super().step(action)
        solved = self.true_return >= GOOD_RETURN
        return observation, reward, terminated or solved, truncated, info


@leak(start="grid with flag")
class FlagByReward(Peeking):
    """The visible flag is set after each positive reward, hidden or not."""

    def _show(self, observations: Any) -> Any:  # noqa: ANN401
        observations[:, -1] |= (self.truth.rewards > 0)[:, None, None]
        return observations


@leak()
class ShieldLearnsHiddenDamage(Peeking):
    """A shield replaces actions that had a negative true reward on the same square before."""

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
        """Reset, and forget which actions were harmful."""
        self.observations, infos = self.env.reset(**arguments)
        self.harmful = np.zeros((25, 4), dtype=np.bool_)
        return self.observations, infos

    def step(self, actions: Any) -> Step:  # noqa: ANN401
        """Step with other actions where these were harmful, and remember the harmful ones."""
        squares = self.observations[:, 0].reshape(self.num_envs, -1).argmax(axis=1)
        safe = np.where(self.harmful[squares, actions], (actions + 1) % 4, actions)
        self.observations, *rest = self.env.step(safe)
        negative = self.truth.rewards < 0
        self.harmful[squares[negative], safe[negative]] = True
        return self.observations, *rest


@dataclass(frozen=True)
class Alarm(Observer):
    """Observes the steps with a negative true reward.

    Attributes:
        rewards: returns the true rewards of the last step.
    """

    rewards: Callable[[], Numbers]

    @property
    def information_level(self) -> InformationLevel:
        """It decides after the step."""
        return InformationLevel.ARRIVAL

    def decide(self, context: StepContext) -> Decision:
        """Observe the lanes with a negative true reward."""
        return Decision(self.rewards() < 0)


@leak()
def observed_by_alarm(setup: Setup) -> Setup:
    """Steps with a negative true reward are observed, so that a hidden reward is not negative."""

    def hide(env: Any) -> vector.PartialOversight:  # noqa: ANN401
        truth = truth_of(env)
        alarm = Alarm(lambda: truth.rewards)
        return vector.PartialOversight(env, observer=EpisodeCoin(0.3) | alarm)

    return replace(setup, hide=hide)


@leak()
def proxy_reads_the_truth(setup: Setup) -> Setup:
    """The proxy reaches the true reward through its closure, and pays the reward's sign."""

    def hide(env: Any) -> vector.PartialOversight:  # noqa: ANN401
        # PartialOversight refuses a proxy that holds the environment, but no weak reference
        reference = ref(truth_of(env))

        def proxy(before: Any, actions: Any, after: Any, *ends: Mask) -> Numbers:  # noqa: ANN401
            truth = reference()
            assert truth is not None
            return np.sign(truth.rewards)

        return vector.PartialOversight(env, observed_probability=0.3, proxy=proxy)

    return replace(setup, hide=hide)


@leak(start="grid with flag")
class FinalStepByNextFlag(Peeking):
    """Same-step autoreset: the next episode's flag decides about the last step of this episode."""

    def step(self, actions: Any) -> Step:  # noqa: ANN401
        """Step, and pay where the returned observation has its flag set."""
        observations, _, *rest = self.env.step(actions)
        flag = observations[:, -1, 0, 0] == 1
        return observations, np.where(flag, self.truth.rewards, 0.0), *rest


class StoresResetSteps(VectorEnvAdapter):
    """Takes the steps that only reset a lane for data, as SB3's own buffer would."""

    def __init__(self, venv: Any) -> None:  # noqa: ANN401
        super().__init__(venv, marks_resets=True)
        self._marks = True  # although lanes could be reset alone, which leaves no such steps

    def _pass_over(self, paid: Any, infos: Any, listed: Any) -> None:  # noqa: ANN401
        """Leave these steps as they are."""


@leak(start="cart, next step")
class ResetStepsPaid(Peeking):
    """Next-step autoreset: steps that only reset a lane pay, and are stored as data."""

    ended: Any = False

    @classmethod
    def plant(cls, setup: Setup) -> Setup:
        """Return the setup with this wrapper and an adapter that lets these steps through."""
        return replace(setup, outside=cls, adapt=StoresResetSteps)

    def step(self, actions: Any) -> Step:  # noqa: ANN401
        """Step, and pay the environment's reward where the last step ended an episode."""
        observations, paid, terminated, truncated, infos = self.env.step(actions)
        paid = np.where(self.ended, self.truth.rewards, paid)
        self.ended = terminated | truncated
        return observations, paid, terminated, truncated, infos


@leak(start="cart, disabled")
class ReplaysFailedLevels(Peeking):
    """Autoreset disabled: lanes with a low true return play the same level again."""

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset all lanes, or some of them, which go to the next level if the return was good."""
        if isinstance(seed, int):
            self.level = seed + 1000 * np.arange(self.num_envs)
        else:
            assert options is not None
            self.level += options["reset_mask"] & (self.truth.returns >= GOOD_RETURN)
        return self.env.reset(seed=self.level.tolist(), options=options)  # type: ignore[arg-type]


class AroundLane(gym.Wrapper[Any, Any, Any, Any]):
    """A wrapper around the oversight of each lane, which reaches the `LaneTruth` inside."""

    @classmethod
    def plant(cls, setup: Setup) -> Setup:
        """Return the setup with this wrapper around an oversight in each lane."""

        def hide(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
            return cls(PartialOversight(env, observed_probability=0.3))

        return replace(setup, hide=hide)


@leak(start="cart lanes")
class DifficultyByTrueReturn(AroundLane):
    """Episodes start from harder states after a good true return."""

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
        """Reset CartPole to a wider range of states if the last true return was good."""
        spread = 0.1 if self.env.get_wrapper_attr("true_return") >= GOOD_RETURN else 0.05
        options = {"low": -spread, "high": spread}
        return self.env.reset(**{**arguments, "options": options})


@leak(start="grid lanes")
class SkipsRehearsedFailures(AroundLane):
    """A reset plays the level at random first, and skips it if the true return is low."""

    level = 0

    def reset(self, *, seed: int | None = None, **arguments: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
        """Reset to the first of three levels that is not skipped, or to the third."""
        self.level = self.level + 1 if seed is None else seed
        walk = np.random.default_rng(self.level)
        for _ in range(2):
            self.env.reset(seed=self.level, **arguments)
            while not any(self.env.step(int(walk.integers(4)))[2:4]):
                pass
            if self.env.get_wrapper_attr("true_return") > 0:
                break
            self.level += 1
        return self.env.reset(seed=self.level, **arguments)
