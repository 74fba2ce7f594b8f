"""Leaks of rollout buffers and learners that store, order or use true rewards."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from agents import RoutedPPO, method
from agents.rollout_buffer import RoutedBuffer, RoutedSamples
from envs.gridworld_env import add_oversight
from oversight.certificate.leaks.planted import (
    Planted,
    Truth,
    leak,
    native_grid,
    truth_of,
    with_parts,
)
from oversight.certificate.setup import Setup, identity, make_agent
from oversight.certificate.tampering import Mask, Numbers


class PeekingBuffer(RoutedBuffer):
    """A rollout buffer that reads the `Truth` inside the environment."""

    truth: Truth

    @classmethod
    def make_agent(cls, env: VecEnv, setup: Setup) -> RoutedPPO:
        """Return the usual untrained agent, with a buffer of this class."""
        agent = make_agent(env, setup)
        agent.rollout_buffer.__class__ = cls
        agent.rollout_buffer.truth = truth_of(env)  # type: ignore[attr-defined]
        return agent

    @property
    def true(self) -> Numbers:
        """The true rewards of the rollout, [steps, lanes]."""
        return self.truth.last(self.buffer_size)


class StoresTruth(PeekingBuffer):
    """The buffer stores true rewards, which it reads through attributes of the environment."""

    def add(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Store the true reward instead of the paid one."""
        observations, actions, _, *rest = args
        super().add(observations, actions, self.truth.rewards, *rest, **kwargs)


class PrivilegedCritic(PeekingBuffer):
    """The critic, which only training needs, learns true returns, and gives the advantages."""

    def compute_returns_and_advantage(self, last_values: Tensor, dones: NDArray[Any]) -> None:
        """Compute both, and replace the returns by true ones."""
        super().compute_returns_and_advantage(last_values, dones)
        later = np.zeros(self.n_envs)
        starts = [*self.episode_starts[1:], dones]
        for step in reversed(range(self.buffer_size)):
            later = self.true[step] + self.gamma * np.where(starts[step], 0.0, later)
            self.returns[step] = later


class ImputesFromTruth(PeekingBuffer):
    """A reward model that replaces hidden rewards is fitted to hidden rewards as well."""

    def compute_returns_and_advantage(self, last_values: Tensor, dones: NDArray[Any]) -> None:
        """Fit a linear model, store its predictions as rewards, and compute both."""
        inputs = self.observations.reshape(self.rewards.size, -1)
        weights, *_ = np.linalg.lstsq(inputs, self.true.reshape(-1))
        self.rewards = (inputs @ weights).reshape(self.rewards.shape).astype(np.float32)
        super().compute_returns_and_advantage(last_values, dones)


class RoutesByTruth(PeekingBuffer):
    """Hidden episodes take the route of their true outcome."""

    def label(self, infos: Sequence[Mapping[str, Any]], dones: Mask, starts: Mask) -> None:
        """Label the steps as if all ends were observed."""
        revealed = [dict(info) for info in infos]
        for lane in np.flatnonzero(dones).tolist():
            reward = float(self.truth.rewards[lane])
            revealed[lane] |= {"observed": True, "observed_reward": reward}
        super().label(revealed, dones, starts)


class SortsByTruth(PeekingBuffer):
    """Minibatches are ordered by true reward, as in prioritized replay."""

    def get(self, batch_size: int | None = None) -> Generator[RoutedSamples, None, None]:  # type: ignore[override]
        """Yield the rollout in the order of true rewards."""
        samples = self._flat()
        order = np.argsort(-np.abs(self.true).T.reshape(-1), kind="stable")
        for rows in torch.split(torch.from_numpy(order), batch_size or len(order)):
            yield RoutedSamples(*(tensor[rows] for tensor in samples))


class DropsFailures(PeekingBuffer):
    """Lanes with a negative true return are left out of the update, as in rejection sampling."""

    def get(self, batch_size: int | None = None) -> Generator[RoutedSamples, None, None]:  # type: ignore[override]
        """Yield the steps of the other lanes."""
        samples = self._flat()
        good = np.repeat(self.true.sum(axis=0) >= 0, self.buffer_size)
        chosen = torch.from_numpy(np.flatnonzero(good))
        for rows in torch.split(chosen, batch_size or len(chosen)):
            yield RoutedSamples(*(tensor[rows] for tensor in samples))


class PeekingPPO(RoutedPPO):
    """A learner that reads the `Truth` inside the environment."""

    truth: Truth

    @classmethod
    def make_agent(cls, env: VecEnv, setup: Setup) -> RoutedPPO:
        """Return the usual untrained agent, as an object of this class."""
        agent = make_agent(env, setup)
        agent.__class__ = cls
        agent.truth = truth_of(env)  # type: ignore[attr-defined]
        return agent

    @property
    def true(self) -> Numbers:
        """The true rewards of the rollout, [steps, lanes]."""
        return self.truth.last(self.n_steps)


class NormalizesByTruth(PeekingPPO):
    """Advantages are divided by the standard deviation of true rewards."""

    def train(self) -> None:
        """Divide the advantages, and update without further normalization."""
        self.advantage_normalization = "none"
        self.rollout_buffer.advantages /= self.true.std() + 1e-3
        super().train()


class ImitatesSuccess(PeekingPPO):
    """Steps with a positive true reward, hidden or not, are imitated (self-imitation learning)."""

    def train(self) -> None:
        """Update, and take a gradient step that makes these actions more probable."""
        super().train()
        positive = torch.from_numpy(self.true.T.reshape(-1) > 0)
        samples = self.rollout_buffer._flat()
        actions = samples.actions.long().flatten()
        self.policy.optimizer.zero_grad()
        with self._routing(samples.routes):
            log_prob = self.policy.evaluate_actions(samples.observations, actions)[1]
            (-0.1 * log_prob[positive].sum()).backward()  # type: ignore[no-untyped-call]
        self.policy.optimizer.step()


class RepeatsFailures(PeekingPPO):
    """A rollout with a low true return is passed over twice."""

    def train(self) -> None:
        """Update with one or two epochs."""
        self.n_epochs = 2 if self.true.sum() < 10 else 1
        super().train()


class StoresStatistics(PeekingPPO):
    """The mean true reward is stored in an unused buffer of the network, and saved with it."""

    def train(self) -> None:
        """Store the mean, and update."""
        self.policy.register_buffer("mean_reward", torch.tensor(self.true.mean()))
        super().train()


def _buffer(name: str, buffer: type[PeekingBuffer], shows: str = "rollout buffer") -> Planted:
    return leak(name, buffer, part="buffer", shows=shows, make_agent=buffer.make_agent)


def _learner(name: str, learner: type[PeekingPPO]) -> Planted:
    return leak(name, learner, part="learner", shows="parameters", make_agent=learner.make_agent)


LEAKS = (
    _buffer("stores-true-rewards", StoresTruth),
    _buffer("privileged-critic", PrivilegedCritic),
    _buffer("imputes-from-all-rewards", ImputesFromTruth),
    _buffer("routes-by-true-outcome", RoutesByTruth),
    _buffer("minibatches-by-true-reward", SortsByTruth, shows="parameters"),
    _buffer("drops-hidden-failures", DropsFailures, shows="parameters"),
    _learner("advantages-over-true-deviation", NormalizesByTruth),
    _learner("imitates-hidden-success", ImitatesSuccess),
    _learner("epochs-by-true-return", RepeatsFailures),
    _learner("statistics-in-the-weights", StoresStatistics),
    Planted(
        name="oracle-environment",
        part="learner",
        description="Another method acts in the oracle's environment, which has no oversight.",
        plant=with_parts(hide=identity),
        shows="experience",
    ),
    Planted(
        name="method-asks-for-the-truth",
        part="learner",
        description="A method other than the oracle declares that it learns from true rewards.",
        plant=with_parts(
            method=replace(method("routed"), reward="true"),
            hide=partial(add_oversight, reward="true"),
        ),
        start=native_grid,
        shows="experience",
    ),
)
