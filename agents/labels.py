"""The rewards that a learner puts in the place of those paid: what was observed, and a guess."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from agents.buffer import RoutedBuffer

Rewards = NDArray[np.float32]


class Step(NamedTuple):
    """What a learner is shown of one step of every lane, as SB3's vector environments show it."""

    observations: Any
    paid: Rewards
    dones: NDArray[np.bool_]
    infos: Sequence[Mapping[str, Any]]

    def observed(self) -> list[int]:
        """Return the lanes whose reward was observed."""
        return [lane for lane, info in enumerate(self.infos) if info.get("observed", False)]


Labels = Callable[[Step], Rewards]
"""From a step to the reward of each lane, [lanes]."""
Guess = Labels
"""The same, of which the rewards of observed lanes are not used."""


def as_paid(step: Step) -> Rewards:
    """Guess what was paid."""
    return step.paid


def nothing(step: Step) -> Rewards:
    """Guess 0, as for unlabelled data in Yu et al. 2022 (arXiv 2202.01741)."""
    return np.zeros_like(step.paid)


def labelled(step: Step, guess: Guess) -> Rewards:
    """Return the observed reward of each lane, or the guess where nothing was observed, [lanes].

    >>> infos = [{"observed": True, "observed_reward": -1.0}, {}]
    >>> step = Step(None, np.array([1, 1], np.float32), np.array([True, True]), infos)
    >>> labelled(step, nothing)
    array([-1.,  0.], dtype=float32)
    """
    rewards = guess(step).copy()
    for lane in step.observed():
        rewards[lane] = step.infos[lane]["observed_reward"]
    return rewards


class Labelled(VecEnvWrapper):
    """An environment as it is shown for one rollout: it pays labels.

    What is paid beyond them is put aside in the rollout buffer, at the step of its coming `add`.

    Args:
        venv: the environment.
        labels: from a step to the reward of each lane, [lanes].
        buffer: the rollout buffer.
    """

    def __init__(self, venv: VecEnv, labels: Labels, buffer: RoutedBuffer) -> None:
        super().__init__(venv)
        self.labels, self.buffer = labels, buffer

    def reset(self) -> Any:  # noqa: ANN401 (of any space)
        """Reset the environment."""
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        """Step every lane, and pay the labels."""
        observations, paid, dones, infos = self.venv.step_wait()
        rewards = self.labels(Step(observations, paid, dones, infos))
        self.buffer.aside[self.buffer.pos] = paid - rewards
        return observations, rewards, dones, infos
