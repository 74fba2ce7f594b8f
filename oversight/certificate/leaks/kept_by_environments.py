"""Leaks of wrappers that pay what they find in the environment, where no tamper reaches.

The environment keeps its last rewards, as environments do for rendering. It is the same in every
run, so that only the shadow shows that a wrapper pays it.
"""

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.vector import AutoresetMode, VectorWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from agents import VectorEnvAdapter
from envs import GridVectorEnv
from oversight.certificate.leaks.planted import Step, leak
from oversight.certificate.setup import (
    DEFAULT_OVERSIGHT,
    Setup,
    VectorEnvFactory,
    make_setup,
)
from oversight.certificate.tampering import Numbers


class KeepsRewards(GridVectorEnv):
    """The grid, with all true rewards as an attribute."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **options)
        self.paid = [np.zeros(self.num_envs)]

    def step(self, actions: Any) -> Step:  # noqa: ANN401
        """Step, and keep the rewards."""
        result = super().step(actions)
        self.paid.append(np.array(result[1], dtype=np.float64))
        return result

    def last_rewards(self) -> Numbers:
        """Return the rewards of the last step."""
        return self.paid[-1]


class KeepsReward(CartPoleEnv):
    """CartPole, which pays the angle of its pole, and has it as an attribute."""

    last_reward = 0.0

    def step(self, action: Any) -> Step:  # noqa: ANN401
        """Step, and keep the reward."""
        observation, _, terminated, truncated, info = super().step(action)  # type: ignore[no-untyped-call]
        self.last_reward = float(observation[2])
        return observation, self.last_reward, terminated, truncated, info


class Reaching(VectorWrapper[Any, Any, Any, Any, Any]):
    """A wrapper around the oversight that reaches the environment inside, and changes rewards."""

    @classmethod
    def plant(cls, setup: Setup) -> Setup:
        """Return the setup with this wrapper, and an environment that keeps its rewards."""
        make_env = VectorEnvFactory(KeepsRewards, DEFAULT_OVERSIGHT)
        return replace(setup, make_env=make_env, outside=cls)

    def step(self, actions: Any) -> Step:  # noqa: ANN401
        """Step, and pay something else."""
        observations, paid, *rest = self.env.step(actions)
        return observations, self.pay(paid, self.env.unwrapped), *rest

    def pay(self, paid: Numbers, inside: Any) -> Numbers:  # noqa: ANN401
        """Return the rewards to pay, given those of the oversight and the environment."""
        return paid


@leak(shows="paid rewards")
class PaysKeptReward(Reaching):
    """Steps pay the last rewards of the unwrapped environment."""

    def pay(self, paid: Numbers, inside: Any) -> Numbers:  # noqa: ANN401
        """Return these."""
        return inside.paid[-1]  # type: ignore[no-any-return]


@leak(shows="paid rewards")
class AsksForReward(Reaching):
    """A method of the unwrapped environment returns its last rewards, of which a part is paid."""

    def pay(self, paid: Numbers, inside: Any) -> Numbers:  # noqa: ANN401
        """Return the reward, and a little more."""
        return paid + 0.125 * inside.last_rewards()  # type: ignore[no-any-return]


@leak(shows="paid rewards")
class ScalesByKeptRewards(Reaching):
    """Rewards are divided by the deviation of those that the unwrapped environment kept."""

    def pay(self, paid: Numbers, inside: Any) -> Numbers:  # noqa: ANN401
        """Divide them."""
        return paid / (1.0 + np.std(inside.paid))  # type: ignore[no-any-return]


class ReachingAdapter(VectorEnvAdapter):
    """An adapter to SB3 around an environment that keeps its rewards."""

    @classmethod
    def plant(cls, setup: Setup) -> Setup:
        """Return the setup with this adapter, and an environment that keeps its rewards."""
        return replace(Reaching.plant(setup), adapt=cls)


@leak(shows="paid rewards")
class AdapterPaysKeptReward(ReachingAdapter):
    """The adapter to SB3 pays the last rewards of the unwrapped environment."""

    def step_wait(self) -> VecEnvStepReturn:
        """Step, and pay them."""
        observations, rewards, dones, infos = super().step_wait()
        inside: Any = self.venv.unwrapped
        return observations, np.float32(inside.paid[-1]) + 0 * rewards, dones, infos


@leak(shows="paid rewards")
class ReportsKeptReward(ReachingAdapter):
    """The adapter to SB3 reports the last rewards of the unwrapped environment as observed."""

    def step_wait(self) -> VecEnvStepReturn:
        """Step, and report them at the ends of episodes."""
        observations, rewards, dones, infos = super().step_wait()
        inside: Any = self.venv.unwrapped
        for lane in np.flatnonzero(dones).tolist():
            infos[lane] |= {"observed": True, "observed_reward": inside.paid[-1][lane]}
        return observations, rewards, dones, infos


class PaysAngle(gym.Wrapper[Any, Any, Any, Any]):
    """Pays the last reward of the unwrapped environment."""

    def step(self, action: Any) -> Step:  # noqa: ANN401
        """Step, and pay it."""
        observation, _, *rest = self.env.step(action)
        inside: Any = self.env.unwrapped
        return observation, inside.last_reward, *rest


@leak(shows="paid rewards", start="cart lanes")
def pays_kept_reward_in_lanes(setup: Setup) -> Setup:
    """In each lane a wrapper pays the last reward of the unwrapped environment."""
    started = make_setup(KeepsReward, wrapper="single", mode=AutoresetMode.SAME_STEP)
    return replace(setup, make_env=started.make_env, hide=lambda env: PaysAngle(started.hide(env)))
