"""Normalizers that take their statistics from inside the oversight."""

import numpy as np
from stable_baselines3.common.vec_env import VecNormalize

from oversight.certificate.leaks.payer import Payer
from oversight.certificate.leaks.planted import Planted, swap
from oversight.certificate.leaks.truth import Mask, Numbers, truth_of
from oversight.certificate.setup import AnyVectorEnv, adapted


class RunningDeviation(Payer):
    """Divides rewards by the deviation of all that there have been."""

    def pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        """Pay deviations."""
        return paid / (np.std(self.truth.steps) + 1e-2)


class LargestReward(Payer):
    """Divides rewards by the largest that there has been."""

    largest = 1.0

    def pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        """Pay shares of the largest."""
        self.largest = max(self.largest, float(np.abs(true).max()))
        return paid / self.largest


class GroupMean(Payer):
    """Subtracts the mean reward of all lanes, as group-relative advantages do."""

    def pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        """Pay what is above the mean, where somebody watches."""
        return np.where(observed, true - true.mean(), 0.0)


class TrueScale(VecNormalize):
    """SB3's normalizer, fed with raw rewards, since those are what is to be scaled."""

    def _update_reward(self, reward: Numbers) -> None:
        super()._update_reward(truth_of(self).rewards)


def truly_scaled(env: AnyVectorEnv) -> TrueScale:
    """Return what the learner acts in, with rewards divided by the deviation of true returns."""
    return TrueScale(adapted(env), norm_obs=False)


LEAKS = (
    Planted(
        name="running-deviation-inside",
        part="normalizer",
        says="Observed rewards are divided by the running deviation of all rewards.",
        plant=swap(outside=RunningDeviation),
        shows="experience",
    ),
    Planted(
        name="scaled-by-the-largest",
        part="normalizer",
        says="Observed rewards are divided by the largest that was ever paid, hidden or not.",
        plant=swap(outside=LargestReward),
        shows="experience",
    ),
    Planted(
        name="group-mean-subtracted",
        part="normalizer",
        says="An observed reward is paid less the mean of all lanes, so that the hidden rewards of "
        "its neighbors are in it.",
        plant=swap(outside=GroupMean),
        shows="experience",
    ),
    Planted(
        name="normalizer-fed-with-raw-rewards",
        part="normalizer",
        says="VecNormalize lies outside, where it belongs, and reads raw rewards through an "
        "attribute for its statistics.",
        plant=swap(adapt=truly_scaled),
        shows="experience",
    ),
)
