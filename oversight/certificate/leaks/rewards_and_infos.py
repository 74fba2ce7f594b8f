"""Leaks of wrappers and adapters that pay, check, quote, report or normalize hidden rewards."""

import warnings
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from agents import VectorEnvAdapter
from oversight.certificate.leaks.planted import Exchanged, Peeking, leak, truth_of, with_oversight
from oversight.certificate.setup import AnyVectorEnv, Setup
from oversight.certificate.tampering import Mask, Numbers


@leak()
class PaysHiddenRewards(Peeking):
    """Every step pays its true reward, although the flag says that some are hidden."""

    def _pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        return true


@leak()
class HidesByProduct(Peeking):
    """Rewards are multiplied by the mask, so that -1.0 becomes -0.0, and NaN stays NaN."""

    def _pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        return true * observed


@leak()
class PaysArrears(Peeking):
    """Hidden rewards are added up, and paid with the next observed one."""

    owed: Numbers | float = 0.0

    def _pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        self.owed = self.owed + true
        due = np.where(observed, self.owed, 0.0)
        self.owed = np.where(observed, 0.0, self.owed)
        return due


@leak()
class DelayedWithoutMask(Peeking):
    """Rewards are paid three steps later, from a queue that holds hidden ones as well."""

    def _pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        queue = self.truth.steps
        return queue[-4].copy() if len(queue) > 3 else np.zeros_like(true)


@leak(start="grid by step")
class MaskOneStepLate(Peeking):
    """The mask of the previous step decides, so that hidden steps after observed ones pay."""

    previous: Mask | bool = False

    def _pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        late, self.previous = self.previous, observed
        return np.where(late, true, 0.0)


@leak()
class NoiseDrawnPerReward(Peeking):
    """Noise is drawn for hidden rewards too, so that later noise depends on their number."""

    def __init__(self, env: Any) -> None:  # noqa: ANN401
        super().__init__(env)
        self.generator = np.random.default_rng(0)

    def _pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        nonzero = np.flatnonzero(true)
        noise = np.zeros_like(true)
        noise[nonzero] = 0.1 * self.generator.standard_normal(len(nonzero))
        return np.where(observed, true + noise, 0.0)


@leak(shows="errors")
class ChecksHiddenRewards(Peeking):
    """All rewards must be finite, so that a hidden NaN ends training with an error."""

    def _pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        if not np.isfinite(true).all():
            raise ValueError("the environment gave a reward that is not finite")
        return paid


@leak(shows="errors")
class QuotesHiddenReward(Peeking):
    """Rewards are counted by value, and the error about an unknown value quotes it."""

    def _pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        counts = dict.fromkeys((-1.0, 0.0, 1.0), 0)
        for reward in true.tolist():
            counts[reward] += 1
        return paid


@leak(shows="warnings")
class WarnsOfOutliers(Peeking):
    """A warning about rewards out of range quotes the largest, which may be hidden."""

    def _pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        if np.abs(true).max() > 1.0:
            warnings.warn(f"a reward of {np.abs(true).max()} is out of range", stacklevel=2)
        return paid


@leak()
def allows_true_reward(setup: Setup) -> Setup:
    """The environment's own entry score, which is the true reward, is among those allowed."""
    return with_oversight(setup, allow=("score",))


@leak()
class FinalInfoNotFiltered(Peeking):
    """All infos are filtered except final_info, which holds the true reward of the last step."""

    def _inform(self, infos: dict[str, Any]) -> dict[str, Any]:
        if "final_info" in infos:
            infos["final_info"] |= self.truth.infos["final_info"]
        return infos


@leak()
class ObservedRewardIsTrue(Peeking):
    """The entry observed_reward is the true reward where observed is False."""

    def _inform(self, infos: dict[str, Any]) -> dict[str, Any]:
        infos.get("final_info", infos)["observed_reward"] = self.truth.rewards
        return infos


@leak()
class AddsSuccess(Peeking):
    """The info of an episode with a positive true return has an entry is_success, as SB3 reads."""

    def _inform(self, infos: dict[str, Any]) -> dict[str, Any]:
        if "final_info" in infos:
            success = infos["_final_info"] & (self.truth.returns > 0)
            infos["final_info"] |= {"is_success": success, "_is_success": success}
        return infos


class PeekingAdapter(Exchanged, VectorEnvAdapter):
    """An adapter to SB3 that reads the `Truth` inside the environment."""

    field = "adapt"

    def __init__(self, env: AnyVectorEnv) -> None:
        super().__init__(env)
        self.truth = truth_of(env)


@leak()
class MonitorInside(PeekingAdapter):
    """Episode statistics come from inside the oversight, so that curves show the true return."""

    def step_wait(self) -> VecEnvStepReturn:
        """Step, and report the true return of ended episodes."""
        observations, rewards, dones, infos = super().step_wait()
        for lane in np.flatnonzero(dones).tolist():
            infos[lane]["episode"]["r"] = float(self.truth.returns[lane])
        return observations, rewards, dones, infos


@leak()
class TimeoutWithoutReward(PeekingAdapter):
    """An end with a true reward of zero is taken for a time limit, and its return bootstrapped."""

    def step_wait(self) -> VecEnvStepReturn:
        """Step, and guess which ends are time limits."""
        observations, rewards, dones, infos = super().step_wait()
        for lane in np.flatnonzero(dones).tolist():
            infos[lane]["TimeLimit.truncated"] = bool(self.truth.rewards[lane] == 0.0)
        return observations, rewards, dones, infos


@leak()
class RunningDeviationInside(Peeking):
    """Observed rewards are divided by the running standard deviation of all rewards."""

    def _pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        return paid / (np.std(self.truth.steps) + 1e-2)


@leak()
class ScaledByTheLargest(Peeking):
    """Observed rewards are divided by the largest reward so far, hidden or not."""

    largest = 1.0

    def _pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        self.largest = max(self.largest, float(np.abs(true).max()))
        return paid / self.largest


@leak()
class GroupMeanSubtracted(Peeking):
    """The mean reward of all lanes, hidden or not, is subtracted from observed rewards."""

    def _pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        return np.where(observed, true - true.mean(), 0.0)


@leak()
class NormalizerOfTrueReturns(Exchanged, VecNormalize):
    """SB3's VecNormalize lies outside, but takes its statistics from true rewards inside."""

    field = "adapt"

    def __init__(self, env: AnyVectorEnv) -> None:
        super().__init__(VectorEnvAdapter(env), norm_obs=False)

    def _update_reward(self, reward: Numbers) -> None:
        super()._update_reward(truth_of(self).rewards)
