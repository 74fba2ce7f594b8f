"""Leaks through infos and episode statistics, and through statistics that normalize rewards."""

from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from agents import VectorEnvAdapter
from oversight.certificate.leaks.planted import (
    Payer,
    Peeking,
    Planted,
    Step,
    leak,
    truth_of,
    with_oversight,
)
from oversight.certificate.setup import AnyVectorEnv
from oversight.certificate.tampering import Mask, Numbers


class MergesFinalInfo(Peeking):
    """Same-step autoreset puts the infos of the last step, true rewards among them, in
    final_info, which is the only entry that is not filtered.
    """

    def step(self, actions: Any) -> Step:  # noqa: ANN401
        """Step, and add the environment's own `final_info`."""
        *rest, infos = self.env.step(actions)
        if "final_info" in infos:
            infos["final_info"] |= self.truth.infos["final_info"]
        return *rest, infos


class ObservedRewardIsTrue(Peeking):
    """The entry observed_reward is the true reward where observed is False."""

    def step(self, actions: Any) -> Step:  # noqa: ANN401
        """Step, and write the true rewards into the info."""
        *rest, infos = self.env.step(actions)
        infos.get("final_info", infos)["observed_reward"] = self.truth.rewards
        return *rest, infos


class AddsSuccess(Peeking):
    """The info of an episode with a positive true return has an entry is_success, as SB3 reads."""

    def step(self, actions: Any) -> Step:  # noqa: ANN401
        """Step, and add the entry."""
        *rest, infos = self.env.step(actions)
        if "final_info" in infos:
            success = infos["_final_info"] & (self.truth.returns > 0)
            infos["final_info"] |= {"is_success": success, "_is_success": success}
        return *rest, infos


class MonitorsTruth(VectorEnvAdapter):
    """Episode statistics are taken inside the oversight, so that info['episode'] and the learner's
    curves hold the true return.
    """

    def step_wait(self) -> VecEnvStepReturn:
        """Step, and report the true return of ended episodes."""
        observations, rewards, dones, infos = super().step_wait()
        for lane in np.flatnonzero(dones).tolist():
            infos[lane]["episode"]["r"] = float(truth_of(self).returns[lane])
        return observations, rewards, dones, infos


class GuessesTimeouts(VectorEnvAdapter):
    """An end with a true reward of zero is taken for a time limit, which shows where hidden
    rewards are zero, and bootstraps these returns.
    """

    def step_wait(self) -> VecEnvStepReturn:
        """Step, and guess which ends are time limits."""
        observations, rewards, dones, infos = super().step_wait()
        for lane in np.flatnonzero(dones).tolist():
            infos[lane]["TimeLimit.truncated"] = bool(truth_of(self).rewards[lane] == 0.0)
        return observations, rewards, dones, infos


class DividesByDeviation(Payer):
    """Observed rewards are divided by the running standard deviation of all rewards."""

    def _pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        return paid / (np.std(self.truth.steps) + 1e-2)


class DividesByLargest(Payer):
    """Observed rewards are divided by the largest reward so far, hidden or not."""

    largest = 1.0

    def _pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        self.largest = max(self.largest, float(np.abs(true).max()))
        return paid / self.largest


class SubtractsGroupMean(Payer):
    """The mean reward of all lanes is subtracted from observed rewards, as in group-relative
    advantages, so that they contain the hidden rewards of other lanes.
    """

    def _pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        return np.where(observed, true - true.mean(), 0.0)


class NormalizesByTrueReturns(VecNormalize):
    """SB3's VecNormalize lies outside the oversight, where it belongs, but reads true rewards
    through an attribute for its statistics.
    """

    def _update_reward(self, reward: Numbers) -> None:
        super()._update_reward(truth_of(self).rewards)


def normalized(env: AnyVectorEnv) -> NormalizesByTrueReturns:
    """Return SB3's version of an environment, normalized by true returns."""
    return NormalizesByTrueReturns(VectorEnvAdapter(env), norm_obs=False)


LEAKS = (
    Planted(
        name="allows-true-reward",
        part="info",
        description="The environment's own entry true_reward is among those that are allowed.",
        plant=with_oversight(allow=("true_reward",)),
        shows="experience",
    ),
    leak("final-info-not-filtered", MergesFinalInfo, part="info", outside=MergesFinalInfo),
    leak(
        "observed-reward-is-true", ObservedRewardIsTrue, part="info", outside=ObservedRewardIsTrue
    ),
    leak("adds-success", AddsSuccess, part="info", outside=AddsSuccess),
    leak("monitor-inside", MonitorsTruth, part="info", adapt=MonitorsTruth),
    leak("timeout-without-reward", GuessesTimeouts, part="info", adapt=GuessesTimeouts),
    leak(
        "running-deviation-inside",
        DividesByDeviation,
        part="normalizer",
        outside=DividesByDeviation,
    ),
    leak("scaled-by-the-largest", DividesByLargest, part="normalizer", outside=DividesByLargest),
    leak(
        "group-mean-subtracted", SubtractsGroupMean, part="normalizer", outside=SubtractsGroupMean
    ),
    leak(
        "normalizer-of-true-returns",
        NormalizesByTrueReturns,
        part="normalizer",
        adapt=normalized,
    ),
)
