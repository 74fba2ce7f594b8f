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
    """All infos are filtered except final_info, which holds the true reward of the last step."""

    def step(self, actions: Any) -> Step:  # noqa: ANN401
        """Step, and add the environment's own `final_info`."""
        *rest, infos = self.env.step(actions)
        if "final_info" in infos:
            infos["final_info"] |= self.truth.infos["final_info"]
        return *rest, infos


class ObservedIsTrue(Peeking):
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
    """Episode statistics come from inside the oversight, so that curves show the true return."""

    def step_wait(self) -> VecEnvStepReturn:
        """Step, and report the true return of ended episodes."""
        observations, rewards, dones, infos = super().step_wait()
        for lane in np.flatnonzero(dones).tolist():
            infos[lane]["episode"]["r"] = float(truth_of(self).returns[lane])
        return observations, rewards, dones, infos


class GuessesTimeouts(VectorEnvAdapter):
    """An end with a true reward of zero is taken for a time limit, and its return bootstrapped."""

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
    """The mean reward of all lanes, hidden or not, is subtracted from observed rewards."""

    def _pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        return np.where(observed, true - true.mean(), 0.0)


class TrueReturnNormalizer(VecNormalize):
    """SB3's VecNormalize lies outside, but takes its statistics from true rewards inside."""

    def _update_reward(self, reward: Numbers) -> None:
        super()._update_reward(truth_of(self).rewards)


def normalized(env: AnyVectorEnv) -> TrueReturnNormalizer:
    """Return SB3's version of an environment, normalized by true returns."""
    return TrueReturnNormalizer(VectorEnvAdapter(env), norm_obs=False)


def _normalizer(name: str, wrapper: type[Payer]) -> Planted:
    return leak(name, wrapper, part="normalizer", outside=wrapper)


LEAKS = (
    Planted(
        name="allows-true-reward",
        part="info",
        description="The environment's own entry true_reward is among those that are allowed.",
        plant=with_oversight(allow=("true_reward",)),
        shows="experience",
    ),
    leak("final-info-not-filtered", MergesFinalInfo, part="info", outside=MergesFinalInfo),
    leak("observed-reward-is-true", ObservedIsTrue, part="info", outside=ObservedIsTrue),
    leak("adds-success", AddsSuccess, part="info", outside=AddsSuccess),
    leak("monitor-inside", MonitorsTruth, part="info", adapt=MonitorsTruth),
    leak("timeout-without-reward", GuessesTimeouts, part="info", adapt=GuessesTimeouts),
    _normalizer("running-deviation-inside", DividesByDeviation),
    _normalizer("scaled-by-the-largest", DividesByLargest),
    _normalizer("group-mean-subtracted", SubtractsGroupMean),
    leak("normalizer-of-true-returns", TrueReturnNormalizer, part="normalizer", adapt=normalized),
)
