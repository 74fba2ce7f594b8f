"""An environment whose rewards encode lane, episode and step, and observers of these."""

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from envs.observers import InformationLevel, Observer
from envs.observers.observer import Decision, StepContext


class NumberedRewards(gym.Env[Any, Any]):
    """Pays 100 x lane + 10 x episode + step, negative in odd steps; the seed is the lane.

    Episodes have two to four steps, the longer the higher the lane.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (Gymnasium's type)

    def __init__(self) -> None:
        self.observation_space = spaces.Box(0.0, 1e6, (3,), np.float32)
        self.action_space = spaces.Discrete(2)
        self.lane = self.episode = self.elapsed = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start episode 0 of a lane, or its next one."""
        super().reset(seed=seed)
        self.lane, self.episode = (self.lane, self.episode + 1) if seed is None else (seed, 0)
        self.elapsed = 0
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Count, and pay."""
        reward = pay(self.lane, self.episode, self.elapsed)
        self.elapsed += 1
        return self._observation(), reward, self.elapsed == length(self.lane), False, {}

    def _observation(self) -> Any:  # noqa: ANN401
        return np.array([self.lane, self.episode, self.elapsed], dtype=np.float32)


def pay(lane: int, episode: int, step: int) -> float:
    """Return the true reward."""
    return (-1.0) ** step * (100.0 * lane + 10.0 * episode + step)


def length(lane: int) -> int:
    """Return the length of every episode of a lane."""
    return 2 + lane % 3


@dataclass(frozen=True)
class EvenEpisodes(Observer):
    """Observes episodes 0, 2, 4 and so on."""

    @property
    def information_level(self) -> InformationLevel:
        """It decides for each episode."""
        return InformationLevel.EPISODE

    def decide(self, context: StepContext) -> Decision:
        """Observe even episodes."""
        return Decision(context.episode % np.uint64(2) == 0)

    def observes(self, episode: int, step: int) -> bool:
        """Return whether one step is observed."""
        return episode % 2 == 0


@dataclass(frozen=True)
class FirstSteps(Observer):
    """Observes the first step of every episode."""

    @property
    def information_level(self) -> InformationLevel:
        """It decides for each step."""
        return InformationLevel.STEP

    def decide(self, context: StepContext) -> Decision:
        """Observe step 0."""
        return Decision(context.step == 0)

    def observes(self, episode: int, step: int) -> bool:
        """Return whether one step is observed."""
        return step == 0


@dataclass(frozen=True)
class SecondArrivals(Observer):
    """Observes the second step of every episode, by the observation after it."""

    @property
    def information_level(self) -> InformationLevel:
        """It reads the observation after a step."""
        return InformationLevel.ARRIVAL

    def decide(self, context: StepContext) -> Decision:
        """Observe the steps that lead to a count of 2."""
        return Decision(context.arrival[:, 2] == 2)

    def observes(self, episode: int, step: int) -> bool:
        """Return whether one step is observed."""
        return step == 1


OBSERVERS = (EvenEpisodes(), FirstSteps(), SecondArrivals())
