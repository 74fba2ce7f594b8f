"""Rollout buffers that hold, or are ordered by, what the learner must not have."""

from collections.abc import Generator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from agents import RoutedPPO
from agents.rollout_buffer import RoutedBuffer, RoutedSamples
from oversight.certificate.leaks.planted import Planted, swap
from oversight.certificate.leaks.truth import Mask, Numbers, Truth, truth_of
from oversight.certificate.setup import Setup, learner


class KnowingBuffer(RoutedBuffer):
    """A buffer that has found the truth inside the environment."""

    truth: Truth

    @classmethod
    def learner(cls, env: VecEnv, setup: Setup) -> RoutedPPO:
        """Return an untrained agent, as always, with such a buffer."""
        agent = learner(env, setup)
        agent.rollout_buffer.__class__ = cls
        agent.rollout_buffer.truth = truth_of(env)  # type: ignore[attr-defined]
        return agent

    @property
    def true(self) -> Numbers:
        """The true rewards of the rollout, [steps, lanes]."""
        return self.truth.last(self.buffer_size)


class StoresTruth(KnowingBuffer):
    """Stores the raw reward, as buffers of transitions do."""

    def add(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Store the true reward in place of the one paid."""
        observations, actions, _, *rest = args
        super().add(observations, actions, self.truth.rewards, *rest, **kwargs)


class LearnsFromTruth(KnowingBuffer):
    """Trains the critic on true returns, since it is thrown away after training."""

    def compute_returns_and_advantage(self, last_values: Tensor, dones: NDArray[Any]) -> None:
        """Compute both, and replace the returns."""
        super().compute_returns_and_advantage(last_values, dones)
        rest = np.zeros(self.n_envs)
        starts = [*self.episode_starts[1:], dones]
        for step in reversed(range(self.buffer_size)):
            rest = self.true[step] + self.gamma * np.where(starts[step], 0.0, rest)
            self.returns[step] = rest


class ImputesTruth(KnowingBuffer):
    """Fits a model of rewards to all steps, and stores what it predicts."""

    def compute_returns_and_advantage(self, last_values: Tensor, dones: NDArray[Any]) -> None:
        """Fit, predict, and compute."""
        inputs = self.observations.reshape(self.rewards.size, -1)
        weights, *_ = np.linalg.lstsq(inputs, self.true.reshape(-1))
        self.rewards = (inputs @ weights).reshape(self.rewards.shape).astype(np.float32)
        super().compute_returns_and_advantage(last_values, dones)


class RoutesByTruth(KnowingBuffer):
    """Labels every episode by its outcome, watched or not."""

    def label(self, infos: Sequence[Mapping[str, Any]], dones: Mask, starts: Mask) -> None:
        """Say that all ends were seen."""
        told = [dict(info) for info in infos]
        for lane in np.flatnonzero(dones).tolist():
            reward = float(self.truth.rewards[lane])
            told[lane] |= {"observed": True, "observed_reward": reward}
        super().label(told, dones, starts)


class SortsByTruth(KnowingBuffer):
    """Yields the steps of large rewards first, as prioritized replay does."""

    def get(self, batch_size: int | None = None) -> Generator[RoutedSamples, None, None]:  # type: ignore[override]
        """Yield the rollout in the order of true rewards."""
        flat = self._flat()
        order = np.argsort(-np.abs(self.true).T.reshape(-1), kind="stable")
        for rows in torch.split(torch.from_numpy(order), batch_size or len(order)):
            yield RoutedSamples(*(tensor[rows] for tensor in flat))


class DropsByTruth(KnowingBuffer):
    """Leaves out the steps of lanes that lost on the whole, as rejection sampling does."""

    def get(self, batch_size: int | None = None) -> Generator[RoutedSamples, None, None]:  # type: ignore[override]
        """Yield the steps of the other lanes."""
        flat = self._flat()
        good = np.repeat(self.true.sum(axis=0) >= 0, self.buffer_size)
        chosen = torch.from_numpy(np.flatnonzero(good))
        for rows in torch.split(chosen, batch_size or len(chosen)):
            yield RoutedSamples(*(tensor[rows] for tensor in flat))


LEAKS = (
    Planted(
        name="stores-true-rewards",
        part="buffer",
        says="The buffer stores raw rewards, which it reads through the environment's attributes.",
        plant=swap(learner=StoresTruth.learner),
        shows="rollout buffer",
    ),
    Planted(
        name="privileged-critic",
        part="buffer",
        says="The critic learns true returns, and the policy learns from the critic.",
        plant=swap(learner=LearnsFromTruth.learner),
        shows="rollout buffer",
    ),
    Planted(
        name="imputes-from-all-rewards",
        part="buffer",
        says="A model of rewards that fills in the hidden ones is fitted to hidden ones too.",
        plant=swap(learner=ImputesTruth.learner),
        shows="rollout buffer",
    ),
    Planted(
        name="routes-by-true-outcome",
        part="buffer",
        says="Hidden episodes take the route of their true outcome.",
        plant=swap(learner=RoutesByTruth.learner),
        shows="rollout buffer",
    ),
    Planted(
        name="minibatches-by-true-reward",
        part="buffer",
        says="Minibatches are ordered by true reward, so that the order of updates tells it.",
        plant=swap(learner=SortsByTruth.learner),
        shows="parameters",
    ),
    Planted(
        name="drops-hidden-failures",
        part="buffer",
        says="Lanes that lost in truth are left out of the update.",
        plant=swap(learner=DropsByTruth.learner),
        shows="parameters",
    ),
)
