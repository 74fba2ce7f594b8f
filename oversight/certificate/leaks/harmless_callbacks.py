"""Harmless parts of the kinds that SB3 and PyTorch ship: callbacks, hooks and normalizers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    CheckpointCallback,
    EvalCallback,
    EveryNTimesteps,
    StopTrainingOnMaxEpisodes,
    StopTrainingOnNoModelImprovement,
)
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from agents import VectorEnvAdapter
from envs import GridVectorEnv
from envs.wrappers import vector
from oversight.certificate.leaks.callbacks_and_checkpoints import Auditor
from oversight.certificate.leaks.planted import harmless
from oversight.certificate.setup import Setup


@harmless()
class HookOnPolicy(Auditor):
    """A forward hook on the policy counts its calls in a list."""

    def _on_training_start(self) -> None:
        calls: list[None] = []
        layer = self.model.policy.get_submodule("value_net")
        layer.register_forward_hook(lambda module, inputs, output: calls.append(None))


@harmless()
def saves_checkpoints(setup: Setup) -> Setup:
    """SB3's CheckpointCallback saves the agent."""
    return replace(setup, callback=lambda folder: CheckpointCallback(16, str(folder)))


def evaluation(folder: Path) -> BaseCallback:
    """Return SB3's evaluation, which warns that its environment has another type."""
    env = vector.PartialOversight(GridVectorEnv(2), observed_probability=1.0)
    stop = StopTrainingOnNoModelImprovement(100)
    adapted = VecMonitor(VectorEnvAdapter(env))
    adapted.seed(0)
    return EvalCallback(adapted, None, stop, n_eval_episodes=2, eval_freq=32, verbose=0)


@harmless()
def evaluates_by_sb3(setup: Setup) -> Setup:
    """SB3's EvalCallback plays in an environment of its own, and warns with addresses in it."""
    return replace(setup, callback=evaluation)


@harmless(start="cart lanes")
def normalizes_observations(setup: Setup) -> Setup:
    """SB3's VecNormalize normalizes observations, and leaves rewards as they are."""
    return replace(setup, adapt=lambda env: VecNormalize(VectorEnvAdapter(env), norm_reward=False))


@harmless()
def counts_episodes(setup: Setup) -> Setup:
    """SB3's callbacks stop training after a number of episodes, and act every few steps."""

    def counting(folder: Path) -> BaseCallback:
        often = EveryNTimesteps(100, CheckpointCallback(1, str(folder)))
        return CallbackList([StopTrainingOnMaxEpisodes(1000), often])

    return replace(setup, callback=counting)


@harmless()
class OwnGenerator(Auditor):
    """A callback draws from a generator of its own, which has no seed."""

    def _on_training_start(self) -> None:
        self.generator = np.random.default_rng()

    def _on_step(self) -> bool:
        return bool(self.generator.random() >= 0)


@harmless()
class AnotherLog(Auditor):
    """The agent gets another logger, which writes to a file of its own."""

    def _on_training_start(self) -> None:
        self.model.set_logger(configure(str(self.ledgers), ["csv"]))
