"""Leaks of rollout buffers and learners that store, order or use true rewards."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from weakref import ref

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from agents import RoutedPPO, method
from agents.rollout_buffer import RoutedBuffer, RoutedSamples
from envs.gridworld_env import add_oversight
from oversight.certificate.leaks.planted import Truth, leak, truth_of
from oversight.certificate.setup import Setup, identity, make_agent
from oversight.certificate.tampering import Mask, Numbers


def with_peeking(setup: Setup, part: Callable[[RoutedPPO], Any], kind: type) -> Setup:
    """Return the setup with an agent of which a part has another class, and a `Truth`."""

    def make_peeking(env: VecEnv, setup: Setup) -> RoutedPPO:
        agent = make_agent(env, setup)
        exchanged = part(agent)
        exchanged.__class__ = kind
        exchanged.truth_of_env = ref(truth_of(env))  # which is no part of what the learner holds
        return agent

    return replace(setup, make_agent=make_peeking)


class PeekingBuffer(RoutedBuffer):
    """A rollout buffer that reads the `Truth` inside the environment."""

    truth_of_env: Callable[[], Truth]

    @classmethod
    def plant(cls, setup: Setup) -> Setup:
        """Return the setup with the usual agent, whose buffer is of this class."""
        return with_peeking(setup, lambda agent: agent.rollout_buffer, cls)

    @property
    def truth(self) -> Truth:
        """The wrapper inside the environment that stores true rewards."""
        return self.truth_of_env()

    @property
    def true(self) -> Numbers:
        """The true rewards of the rollout, [steps, lanes]."""
        return self.truth.last(self.buffer_size)


@leak(shows="rollout buffer")
class StoresTrueRewards(PeekingBuffer):
    """The buffer stores true rewards, which it reads through attributes of the environment."""

    def add(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Store the true reward instead of the paid one."""
        observations, actions, _, *rest = args
        super().add(observations, actions, self.truth.rewards, *rest, **kwargs)


@leak(shows="rollout buffer")
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


@leak(shows="rollout buffer")
class ImputesFromAllRewards(PeekingBuffer):
    """A reward model that replaces hidden rewards is fitted to hidden rewards as well."""

    def compute_returns_and_advantage(self, last_values: Tensor, dones: NDArray[Any]) -> None:
        """Fit a linear model, store its predictions as rewards, and compute both."""
        inputs = self.observations.reshape(self.rewards.size, -1)
        weights, *_ = np.linalg.lstsq(inputs, self.true.reshape(-1))
        self.rewards = (inputs @ weights).reshape(self.rewards.shape).astype(np.float32)
        super().compute_returns_and_advantage(last_values, dones)


@leak(shows="rollout buffer")
class RoutesByTrueOutcome(PeekingBuffer):
    """Hidden episodes take the route of their true outcome."""

    def label(self, infos: Sequence[Mapping[str, Any]], dones: Mask, starts: Mask) -> None:
        """Label the steps as if all ends were observed."""
        revealed = [dict(info) for info in infos]
        for lane in np.flatnonzero(dones).tolist():
            reward = float(self.truth.rewards[lane])
            revealed[lane] |= {"observed": True, "observed_reward": reward}
        super().label(revealed, dones, starts)


@leak(shows="parameters")
class MinibatchesByTrueReward(PeekingBuffer):
    """Minibatches are ordered by true reward, as in prioritized replay."""

    def get(self, batch_size: int | None = None) -> Generator[RoutedSamples, None, None]:  # type: ignore[override]
        """Yield the rollout in the order of true rewards."""
        samples = self._flat()
        order = np.argsort(-np.abs(self.true).T.reshape(-1), kind="stable")
        for rows in torch.split(torch.from_numpy(order), batch_size or len(order)):
            yield RoutedSamples(*(tensor[rows] for tensor in samples))  # type: ignore[index]


@leak(shows="parameters")
class DropsHiddenFailures(PeekingBuffer):
    """Lanes with a negative true return are left out of the update, as in rejection sampling."""

    def get(self, batch_size: int | None = None) -> Generator[RoutedSamples, None, None]:  # type: ignore[override]
        """Yield the steps of the other lanes."""
        samples = self._flat()
        good = np.repeat(self.true.sum(axis=0) >= 0, self.buffer_size)
        chosen = torch.from_numpy(np.flatnonzero(good))
        for rows in torch.split(chosen, batch_size or len(chosen)):
            yield RoutedSamples(*(tensor[rows] for tensor in samples))  # type: ignore[index]


class PeekingPPO(RoutedPPO):
    """A learner that reads the `Truth` inside the environment."""

    truth_of_env: Callable[[], Truth]

    @classmethod
    def plant(cls, setup: Setup) -> Setup:
        """Return the setup with the usual agent as an object of this class."""
        return with_peeking(setup, identity, cls)

    @property
    def truth(self) -> Truth:
        """The wrapper inside the environment that stores true rewards."""
        return self.truth_of_env()

    @property
    def true(self) -> Numbers:
        """The true rewards of the rollout, [steps, lanes]."""
        return self.truth.last(self.n_steps)


@leak(shows="parameters")
class AdvantagesOverTrueDeviation(PeekingPPO):
    """Advantages are divided by the standard deviation of true rewards."""

    def train(self) -> None:
        """Divide the advantages, and update without further normalization."""
        self.advantage_normalization = "none"
        self.rollout_buffer.advantages /= self.true.std() + 1e-3
        super().train()


@leak(shows="parameters")
class ImitatesHiddenSuccess(PeekingPPO):
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


@leak(shows="parameters")
class EpochsByTrueReturn(PeekingPPO):
    """A rollout with a low true return is passed over twice."""

    def train(self) -> None:
        """Update with one or two epochs."""
        self.n_epochs = 2 if self.true.sum() < 10 else 1
        super().train()


@leak(shows="parameters")
class StatisticsInTheWeights(PeekingPPO):
    """The mean true reward is stored in an unused buffer of the network, and saved with it."""

    def train(self) -> None:
        """Store the mean, and update."""
        self.policy.register_buffer("mean_reward", torch.tensor(self.true.mean()))
        super().train()


@leak()
def oracle_environment(setup: Setup) -> Setup:
    """Another method acts in the oracle's environment, which has no oversight."""
    return replace(setup, hide=identity)


@leak(start="native grid")
def method_asks_for_the_truth(setup: Setup) -> Setup:
    """A method other than the oracle declares that it learns from true rewards."""
    dishonest = replace(method("routed"), reward="true")
    return replace(setup, method=dishonest, hide=partial(add_oversight, reward="true"))
