"""Harmless parts, which handle hidden rewards or change training, but do not leak."""

from dataclasses import replace
from enum import Enum
from functools import partial
from io import StringIO
from pathlib import Path
from threading import Lock
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorWrapper
from gymnasium.wrappers.vector import NormalizeReward, RecordEpisodeStatistics
from rich.console import Console
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    CheckpointCallback,
    EvalCallback,
    EveryNTimesteps,
    StopTrainingOnMaxEpisodes,
    StopTrainingOnNoModelImprovement,
)
from stable_baselines3.common.logger import HParam, Image, configure
from stable_baselines3.common.vec_env import VecEnv, VecMonitor, VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn
from torch.utils.tensorboard.writer import SummaryWriter

from agents import RoutedPPO, VectorEnvAdapter
from agents.ppo import PPOConfig
from envs import FixedHorizon, GridVectorEnv
from envs.wrappers import vector
from oversight.certificate.leaks.callbacks_and_checkpoints import Auditor
from oversight.certificate.leaks.planted import (
    Exchanged,
    Step,
    harmless,
    in_left_half,
    with_oversight,
)
from oversight.certificate.setup import Setup, make_agent
from oversight.certificate.tampering import Mask, Numbers


@harmless(start="grid by step")
def observed_by_step(setup: Setup) -> Setup:
    """A coin decides for each step whether it is observed."""
    return setup


@harmless(start="grid by region")
def observed_by_region(setup: Setup) -> Setup:
    """Steps that arrive in the left half of the grid are observed."""
    return setup


@harmless(start="grid within budget")
def observed_within_budget(setup: Setup) -> Setup:
    """Each lane has a budget of two observed episodes."""
    return setup


@harmless(start="grid with errors")
def noisy_observer(setup: Setup) -> Setup:
    """The observer misses a quarter of the rewards, and reports the wrong sign of another."""
    return setup


@harmless(start="grid by step")
def delayed_oversight(setup: Setup) -> Setup:
    """Observed rewards are reported and paid three steps later."""
    return replace(setup, outside=partial(vector.DelayedOversight, steps=3))


@harmless()
def proxy_by_termination(setup: Setup) -> Setup:
    """Hidden steps pay a proxy that is the same for every terminal state."""

    def proxy(before: Any, actions: Any, after: Any, terminated: Mask, truncated: Mask) -> Numbers:  # noqa: ANN401
        return terminated.astype(np.float64)

    return with_oversight(setup, proxy=proxy)


@harmless(start="cart lanes")
def fixed_horizon_inside(setup: Setup) -> Setup:
    """All episodes have the same length, so that their ends reveal nothing."""
    return replace(setup, inside=partial(FixedHorizon, horizon=30))


@harmless()
def statistics_outside(setup: Setup) -> Setup:
    """Episode statistics are those of the paid rewards."""
    return replace(setup, outside=RecordEpisodeStatistics)


@harmless()
def normalizer_outside(setup: Setup) -> Setup:
    """Gymnasium's NormalizeReward lies outside the oversight."""
    return replace(setup, outside=NormalizeReward)


@harmless()
def normalizer_of_observed_rewards(setup: Setup) -> Setup:
    """Rewards are divided by the standard deviation of observed returns alone."""
    return replace(setup, outside=vector.NormalizeObservedReward)


@harmless()
def sb3_normalizer_outside(setup: Setup) -> Setup:
    """SB3's VecNormalize lies outside the oversight."""
    return replace(setup, adapt=lambda env: VecNormalize(VectorEnvAdapter(env), norm_obs=False))


@harmless()
def other_hyperparameters(setup: Setup) -> Setup:
    """The network and the hyperparameters are different."""
    ppo = PPOConfig(hidden_sizes=(8,), n_steps=16, batch_size=64, n_epochs=2, anneal=False)
    return replace(setup, ppo=ppo)


@harmless()
def selects_by_observed_return(setup: Setup) -> Setup:
    """The checkpoint is selected by observed episodes; four are held out for each trained on."""
    return replace(setup, held_out=0.8)


@harmless()
class UnreadSum(Exchanged, VectorWrapper[Any, Any, Any, Any, Any]):
    """A wrapper inside the oversight adds up all rewards, and nothing reads the sum."""

    field = "inside"
    total = 0.0

    def step(self, actions: Any) -> Step:  # noqa: ANN401
        """Step, and add the rewards."""
        result = self.env.step(actions)
        self.total += sum(float(reward) for reward in result[1])
        return result


@harmless(start="cart lanes")
class RepeatsActions(Exchanged, gym.Wrapper[Any, Any, Any, Any]):
    """A wrapper inside the oversight takes each action twice, and adds up the two rewards."""

    field = "inside"

    def step(self, action: Any) -> Step:  # noqa: ANN401
        """Step twice, unless the first step ends the episode."""
        first = self.env.step(action)
        if first[2] or first[3]:
            return first
        observation, reward, *rest = self.env.step(action)
        return observation, float(first[1]) + float(reward), *rest


@harmless()
class SeparateEvaluation(Auditor):
    """An evaluation reads the ledger, but has a random generator and a file of its own."""

    def _on_rollout_end(self) -> None:
        assert isinstance(self.model._last_obs, np.ndarray)
        with torch.random.fork_rng(devices=[]), (self.ledgers / "report.txt").open("a") as report:
            for _ in range(int(np.count_nonzero(self.returns() < 0))):
                report.write(f"{self.model.predict(self.model._last_obs)[0]}\n")


@harmless()
class PrintsTrueReturn(Auditor):
    """The true return is printed on a console."""

    console = Console(file=StringIO())

    def _on_rollout_end(self) -> None:
        self.console.print(f"{self.num_timesteps} steps, true return {self.mean()}")


@harmless()
class SeparateCurves(Auditor):
    """The true return is written to a TensorBoard log that the learner does not have."""

    def _on_training_start(self) -> None:
        self.writer = SummaryWriter(str(self.ledgers / "truth"))

    def _on_rollout_end(self) -> None:
        self.writer.add_scalar("true_return", self.mean(), self.num_timesteps)

    def _on_training_end(self) -> None:
        self.writer.close()


@harmless()
class LogsImages(Auditor):
    """SB3's logger gets an image and hyperparameters, which are the same in every run."""

    def _on_rollout_end(self) -> None:
        self.logger.record("picture", Image(np.full((2, 2, 3), self.num_timesteps), "HWC"))
        rates = {"learning rate": 0.1}
        self.logger.record("hparams", HParam(rates, {"rollout/ep_rew_mean": 0.0}))
        self.logger.info(f"after {self.num_timesteps} steps")


@harmless()
def monitor_outside(setup: Setup) -> Setup:
    """SB3's VecMonitor lies outside the oversight, and measures durations."""
    return replace(setup, adapt=lambda env: VecMonitor(VectorEnvAdapter(env)))


class Medium(Enum):
    """Where an episode takes place."""

    AIR, WATER = 1, 2


@harmless()
class TypedInfos(Exchanged, VectorEnvAdapter):
    """Infos hold a member of an enumeration, a set, a masked array, and an object."""

    field = "adapt"

    def step_wait(self) -> VecEnvStepReturn:
        """Step, and add them."""
        observations, rewards, dones, infos = super().step_wait()
        for lane, info in enumerate(infos):
            info |= {"medium": Medium.AIR, "events": {"step", lane}, "lane": Lane(lane)}
            info["depth"] = np.ma.array([lane, 0], mask=[False, True])
        return observations, rewards, dones, infos


class Lane:
    """The number of a lane."""

    def __init__(self, number: int) -> None:
        self.number = number


@harmless()
def lock_in_agent(setup: Setup) -> Setup:
    """The agent has a lock, which cannot be compared, and a list that contains the list."""

    def make_locked(env: VecEnv, setup: Setup) -> RoutedPPO:
        agent = make_agent(env, setup)
        endless: list[object] = [Lock()]
        endless.append(endless)
        vars(agent)["endless"] = endless
        return agent

    return replace(setup, make_agent=make_locked)


class AroundOversight(Exchanged, VectorWrapper[Any, Any, Any, Any, Any]):
    """A wrapper outside the oversight."""

    field = "outside"


@harmless()
class ShapesPaidRewards(AroundOversight):
    """Rewards are shaped by the observation, and lowered by a cost for each step."""

    def step(self, actions: Any) -> Step:  # noqa: ANN401
        """Step, and pay the reward, the shaping and the cost."""
        observations, paid, *rest = self.env.step(actions)
        return observations, paid + in_left_half(observations) - 0.01, *rest


@harmless()
class NoiseFromTheEnvironment(AroundOversight):
    """Noise on all rewards is drawn from NumPy's generator and from that of the environment."""

    def step(self, actions: Any) -> Step:  # noqa: ANN401
        """Step, and add noise."""
        observations, paid, *rest = self.env.step(actions)
        noise = self.env.unwrapped.np_random.normal(size=self.num_envs)
        noise = noise + np.random.normal(size=self.num_envs)  # noqa: NPY002 (as users do)
        return observations, paid + 0.1 * noise, *rest


@harmless()
class ReadsConstants(AroundOversight):
    """Rewards are divided by the size of the environment, which is read from inside it."""

    def step(self, actions: Any) -> Step:  # noqa: ANN401
        """Step, and divide rewards by the number of lanes."""
        observations, paid, *rest = self.env.step(actions)
        return observations, paid / self.env.unwrapped.num_envs, *rest


@harmless(start="cart lanes")
class ReadsStateForInfos(gym.Wrapper[Any, Any, Any, Any]):
    """Around the oversight of each lane, an info is read from the environment's own state."""

    @classmethod
    def plant(cls, setup: Setup) -> Setup:
        """Return the setup with this wrapper around the oversight in each lane."""
        hide = setup.hide
        return replace(setup, hide=lambda env: cls(hide(env)))

    def step(self, action: Any) -> Step:  # noqa: ANN401
        """Step, and add the position of the cart."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        state: Any = self.env.unwrapped
        return observation, reward, terminated, truncated, {**info, "x": state.state[0]}


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
