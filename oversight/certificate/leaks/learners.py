"""Learners that train on what they must not have."""

from dataclasses import replace

import torch
from stable_baselines3.common.vec_env import VecEnv

from agents import RoutedPPO, method
from oversight.certificate.leaks.planted import Planted, swap
from oversight.certificate.leaks.starts import native_grid
from oversight.certificate.leaks.truth import Numbers, Truth, truth_of
from oversight.certificate.setup import Setup, learner, unwrapped


class KnowingPPO(RoutedPPO):
    """A learner that has found the truth inside the environment."""

    truth: Truth

    @classmethod
    def build(cls, env: VecEnv, setup: Setup) -> RoutedPPO:
        """Return an untrained agent, as always, that will train in another way."""
        agent = learner(env, setup)
        agent.__class__ = cls
        agent.truth = truth_of(env)  # type: ignore[attr-defined]
        return agent

    @property
    def true(self) -> Numbers:
        """The true rewards of the rollout, [steps, lanes]."""
        return self.truth.last(self.n_steps)


class NormalizesByTruth(KnowingPPO):
    """Normalizes advantages by the deviation of rewards instead of their own."""

    def train(self) -> None:
        """Normalize, and update."""
        self.advantage_normalization = "none"
        self.rollout_buffer.advantages /= self.true.std() + 1e-3
        super().train()


class ImitatesSuccess(KnowingPPO):
    """Imitates the steps that paid, after each update, as self-imitation learning does."""

    def train(self) -> None:
        """Update, and imitate."""
        super().train()
        paying = torch.from_numpy(self.true.T.reshape(-1) > 0)
        samples = self.rollout_buffer._flat()
        actions = samples.actions.long().flatten()
        self.policy.optimizer.zero_grad()
        with self._routing(samples.routes):
            log_prob = self.policy.evaluate_actions(samples.observations, actions)[1]
            (-0.1 * log_prob[paying].sum()).backward()  # type: ignore[no-untyped-call]
        self.policy.optimizer.step()


class RepeatsFailures(KnowingPPO):
    """Passes over the rollout once more if it won too rarely."""

    def train(self) -> None:
        """Update once or twice."""
        self.n_epochs = 2 if self.true.sum() < 10 else 1
        super().train()


class KeepsStatistics(KnowingPPO):
    """Keeps the mean reward in a buffer of the network, for later."""

    def train(self) -> None:
        """Write it, and update."""
        mean = torch.tensor(self.true.mean())
        self.policy.register_buffer("mean_reward", mean)
        super().train()


def promised_truth(setup: Setup) -> Setup:
    """Let the method ask for the true reward, with a table that is not the oracle's."""
    return replace(setup, method=replace(method("routed"), reward="true"))


LEAKS = (
    Planted(
        name="advantages-over-true-deviation",
        part="learner",
        says="Advantages are divided by the deviation of true rewards.",
        plant=swap(learner=NormalizesByTruth.build),
        shows="parameters",
    ),
    Planted(
        name="imitates-hidden-success",
        part="learner",
        says="Steps that paid in truth are imitated, watched or not.",
        plant=swap(learner=ImitatesSuccess.build),
        shows="parameters",
    ),
    Planted(
        name="epochs-by-true-return",
        part="learner",
        says="A rollout of poor true return is passed over twice.",
        plant=swap(learner=RepeatsFailures.build),
        shows="parameters",
    ),
    Planted(
        name="statistics-in-the-weights",
        part="learner",
        says="The mean true reward lies in a buffer of the network, which uses it for nothing and "
        "is saved with its weights.",
        plant=swap(learner=KeepsStatistics.build),
        shows="parameters",
    ),
    Planted(
        name="oracle-environment",
        part="learner",
        says="The environment of the oracle, without oversight, is given to another method.",
        plant=swap(hide=unwrapped),
        shows="experience",
    ),
    Planted(
        name="method-asks-for-the-truth",
        part="learner",
        says="A method other than the oracle names the true reward as the one it learns from.",
        plant=promised_truth,
        start=native_grid,
        shows="experience",
    ),
)
