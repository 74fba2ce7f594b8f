"""What a run needs to know of its environment: the interface behind which environments differ."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy

from agents.method_definition import Reward
from agents.ppo import PPOConfig
from oversight.rl.config import TrainConfig
from oversight.rl.rendering import Picture, Screen
from oversight.rl.views import View

Metrics = dict[str, float | int]


class Pursuit(NamedTuple):
    """Which of goal and proxy was served first in each of some episodes, [episodes] each."""

    goal_first: NDArray[np.bool_]
    proxy_first: NDArray[np.bool_]


class Places(NamedTuple):
    """Where the goal and the proxy lie in some episodes.

    Attributes:
        observations: first observations, as the agent sees them, [episodes, ...].
        goal: row and column of the goal, [episodes, 2].
        proxy: row and column of the proxy, [episodes, 2].
    """

    observations: NDArray[Any]
    goal: NDArray[np.intp]
    proxy: NDArray[np.intp]


class Task(ABC):
    """An environment as a run trains in it, measures it and shows it.

    Attributes:
        curves: the metrics that TensorBoard draws of each policy, with the titles of their charts.
        config: settings of the run.

    Args:
        config: settings of the run.
    """

    curves: ClassVar[Mapping[str, str]]

    def __init__(self, config: TrainConfig) -> None:
        self.config = config

    @property
    @abstractmethod
    def limit(self) -> int:
        """The steps after which every episode of an evaluation has ended."""

    @property
    def oversight(self) -> str:
        """What is observed in an evaluation, in words."""
        return f"oversight probability {self.config.oversight_probability:g}"

    @property
    @abstractmethod
    def observation_size(self) -> int:
        """The numbers in an observation."""

    @abstractmethod
    def make_env(self, num_envs: int, reward: Reward) -> VectorEnv[Any, Any, Any]:
        """Return the environment of training, paying the reward that its user may see."""

    @abstractmethod
    def make_held_out(self, episodes: int) -> VectorEnv[Any, Any, Any]:
        """Return an environment for held-out episodes, with as many lanes or fewer.

        It is under the oversight of the run, except that nothing is delayed: whoever selects a
        checkpoint can wait for the reports.
        """

    @abstractmethod
    def measure(self, policy: BasePolicy, episodes: int, seed: int) -> Metrics:
        """Play whole episodes, and return the metrics of a policy by the true reward.

        The metrics contain `true_return`, `true_return_observed`, `true_return_unobserved` and
        `episodes`; what there is none of is NaN.

        Args:
            policy: the policy, whose actions are sampled.
            episodes: number of episodes.
            seed: of the levels.
        """

    def pursue(self, policy: BasePolicy, episodes: int, seed: int) -> Pursuit | None:
        """Play episodes of an evaluation, and return what each served first.

        None if the environment does not say what its goal and its proxy are.

        Args:
            policy: the policy, whose actions are sampled.
            episodes: number of episodes.
            seed: of the levels.
        """
        return None

    def places(self, episodes: int, seed: int) -> Places | None:
        """Return where goal and proxy lie in the episodes that `pursue` plays by the same seed.

        None where they are no cells of a board that observations show whole.

        Args:
            episodes: number of episodes.
            seed: of the levels.
        """
        return None

    @abstractmethod
    def flagged(self, observed: bool) -> TrainConfig | None:
        """Return the settings with all or no episodes flagged as observed; None without a flag."""

    @abstractmethod
    def headings(self, metrics: Mapping[str, Any]) -> dict[str, str]:
        """Return the metrics that the table of results shows, with the headings of its columns."""

    @abstractmethod
    def caption(self, metrics: Mapping[str, Any]) -> str:
        """Return what the columns of the table of results mean."""

    @abstractmethod
    def screen(self) -> Screen:
        """Return what films show.

        Raises:
            ValueError: if the environment renders no pictures.
        """

    def picture(self, policies: Mapping[str, ActorCriticPolicy]) -> Picture | None:
        """Return a picture of what the modules of a policy do, if there is one."""
        return None

    def views(self, seed: int) -> list[View]:
        """Return boards on which policies are shown, with the agent on each cell, if there are any.

        Args:
            seed: of the levels.
        """
        return []

    @abstractmethod
    def complete(self, ppo: PPOConfig) -> PPOConfig:
        """Return hyperparameters with what the environment states, where they leave it open."""


def episodes_per_lane(episodes: int, lanes: int) -> NDArray[np.int64]:
    """Return how many episodes each lane plays, [lanes].

    >>> episodes_per_lane(7, 3)
    array([3, 2, 2])
    """
    return episodes // lanes + (np.arange(lanes) < episodes % lanes)


def mean(values: NDArray[Any]) -> float:
    """Return the mean of some values, NaN if there are none."""
    return float(np.mean(values)) if values.size else float("nan")
