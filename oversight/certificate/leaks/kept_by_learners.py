"""Leaks into what a learner holds or saves without learning from it."""

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from agents import VectorEnvAdapter
from oversight.certificate.leaks.buffers_and_learners import PeekingBuffer, PeekingPPO
from oversight.certificate.leaks.planted import Exchanged, leak, truth_of
from oversight.certificate.setup import AnyVectorEnv
from oversight.certificate.tampering import Numbers


class Keeper(PeekingPPO):
    """A learner that keeps the mean true reward of its last rollout somewhere."""

    def train(self) -> None:
        """Update, and keep the mean."""
        super().train()
        self.keep(float(self.true.mean()))

    def keep(self, mean: float) -> None:
        """Store the mean."""


@leak(shows="learner")
class AttributeOfAgent(Keeper):
    """An attribute of the agent, which is saved with it, is the mean true reward."""

    def keep(self, mean: float) -> None:
        """Store it."""
        self.mean = mean


@leak(shows="learner")
class AttributeOfPolicy(Keeper):
    """An attribute of a layer of the policy is the mean true reward."""

    def keep(self, mean: float) -> None:
        """Store it in the last layer."""
        *_, layer = self.policy.modules()
        layer.note = {"mean": [mean]}  # type: ignore[assignment]


@leak(shows="learner")
class UnsavedBufferOfPolicy(Keeper):
    """A buffer of the policy that is not saved is the mean true reward."""

    def keep(self, mean: float) -> None:
        """Register it."""
        self.policy.register_buffer("mean", torch.tensor(mean), persistent=False)


@leak(shows="learner")
class EpisodeStatistics(Keeper):
    """SB3's statistics of the last episodes, from which curves are drawn, have true returns."""

    def keep(self, mean: float) -> None:
        """Append an episode."""
        assert self.ep_info_buffer is not None
        self.ep_info_buffer.append({"r": mean, "l": 1, "t": 0.0})


@leak(shows="learner")
class SuccessStatistics(Keeper):
    """SB3's statistics of success count positive true rewards."""

    def keep(self, mean: float) -> None:
        """Append an outcome."""
        assert self.ep_success_buffer is not None
        self.ep_success_buffer.append(mean > 0)


@leak(shows="learner")
class BoundsOfSpace(Keeper):
    """The bounds of the agent's observation space grow to the mean true reward."""

    def keep(self, mean: float) -> None:
        """Exchange the space."""
        shape = self.observation_space.shape
        self.observation_space = spaces.Box(0.0, abs(mean) + 1.0, shape, np.float64)


@leak(shows="learner")
class BoundsOfWrapper(Keeper):
    """The bounds of a wrapper's observation space, and not the agent's, grow to the mean."""

    def keep(self, mean: float) -> None:
        """Exchange the space."""
        shape = self.observation_space.shape
        self.truth.observation_space = spaces.Box(0.0, abs(mean) + 1.0, shape, np.float64)


@leak(shows="generators")
class GeneratorOfSpace(Keeper):
    """The action space is sampled from once per positive true reward."""

    def keep(self, mean: float) -> None:
        """Sample."""
        for _ in range(int(np.count_nonzero(self.true > 0))):
            self.action_space.sample()


@leak(shows="learner")
class ScheduleWithDefault(Keeper):
    """The schedule of the clip range, a function, has the mean true reward as a default."""

    def keep(self, mean: float) -> None:
        """Exchange the schedule for an equal one."""
        self.clip_range = lambda remaining, unread=mean: 0.1


@leak(shows="learner")
class GradientsAfterUpdate(Keeper):
    """The gradients that remain after an update are multiplied by the mean true reward."""

    def keep(self, mean: float) -> None:
        """Multiply them."""
        for parameter in self.policy.parameters():
            if parameter.grad is not None:
                parameter.grad *= mean


@leak(shows="learner")
class DefaultsOfOptimizer(Keeper):
    """The optimizer's defaults, which no update reads, hold the mean true reward."""

    def keep(self, mean: float) -> None:
        """Store it."""
        self.policy.optimizer.defaults["mean"] = mean


@leak(shows="learner")
class RewardSourceNote(Keeper):
    """The source of the rewards that are learned from holds the mean true reward."""

    def keep(self, mean: float) -> None:
        """Store it."""
        vars(self.reward_source)["mean"] = np.array(mean)


@leak(shows="rollout buffer")
class NoteInBuffer(PeekingBuffer):
    """The rollout buffer has the mean true reward beside its arrays."""

    def compute_returns_and_advantage(self, last_values: Tensor, dones: NDArray[Any]) -> None:
        """Compute both, and store the mean."""
        super().compute_returns_and_advantage(last_values, dones)
        self.mean = self.true.mean()


@leak(shows="learner")
class NormalizerWithTrueReturns(Exchanged, VecNormalize):
    """SB3's VecNormalize, which is saved beside the agent, counts true returns it does not use."""

    field = "adapt"

    def __init__(self, env: AnyVectorEnv) -> None:
        super().__init__(VectorEnvAdapter(env), norm_obs=False)

    def _update_reward(self, reward: Numbers) -> None:
        super()._update_reward(reward)
        self.true_returns = truth_of(self).returns.copy()


@leak(shows="learner")
class NameOfModule(Keeper):
    """The policy has a module that is None, and whose name is the mean true reward."""

    def keep(self, mean: float) -> None:
        """Register it."""
        self.policy.register_module(f"mean {mean}".replace(".", ","), None)


@leak(shows="learner")
class NameOfParameter(Keeper):
    """The policy has a parameter that is None, and whose name is the mean true reward."""

    def keep(self, mean: float) -> None:
        """Register it."""
        self.policy.register_parameter(f"mean {mean}".replace(".", ","), None)


@leak(shows="learner")
class NoteOnParameter(Keeper):
    """A parameter of the policy has the mean true reward as an attribute."""

    def keep(self, mean: float) -> None:
        """Store it."""
        parameter: Any = next(self.policy.parameters())
        parameter.note = mean


@leak(shows="learner")
class NoteOnDistribution(Keeper):
    """The policy's distribution of actions has the mean true reward as an attribute."""

    def keep(self, mean: float) -> None:
        """Store it."""
        vars(self.policy.action_dist)["note"] = mean


@leak(shows="learner")
class ClassOfAgent(Keeper):
    """The class of the agent has the mean true reward as an attribute."""

    mean = 0.0

    def keep(self, mean: float) -> None:
        """Store it."""
        type(self).mean = mean


@leak(shows="learner")
class LeftOutOfSaves(Keeper):
    """What a saved file leaves out depends on the sign of the mean true reward."""

    def keep(self, mean: float) -> None:
        """Decide."""
        self.left_out = mean > 0

    def _excluded_save_params(self) -> list[str]:
        further = ["gamma"] if vars(self).get("left_out") else []
        return [*super()._excluded_save_params(), *further]


@leak(shows="learner")
class HookOnLayer(Keeper):
    """A hook on a layer of the policy, which changes nothing, has enclosed the mean true reward."""

    def keep(self, mean: float) -> None:
        """Register it."""
        self.policy.value_net.register_forward_hook(lambda module, inputs, output: mean and None)
