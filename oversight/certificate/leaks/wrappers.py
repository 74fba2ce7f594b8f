"""Leaks of wrappers that pay, check or quote hidden rewards."""

import warnings
from typing import Any

import numpy as np

from oversight.certificate.leaks.planted import Payer, Planted, grid_by_step, leak
from oversight.certificate.tampering import Mask, Numbers


class PaysHiddenRewards(Payer):
    """Every step pays its true reward, although the flag says that some are hidden."""

    def _pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        return true


class MultipliesByMask(Payer):
    """Rewards are multiplied by the mask, so that -1.0 becomes -0.0, and NaN stays NaN."""

    def _pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        return true * observed


class PaysArrears(Payer):
    """Hidden rewards are added up, and paid with the next observed one."""

    owed: Numbers | float = 0.0

    def _pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        self.owed = self.owed + true
        due = np.where(observed, self.owed, 0.0)
        self.owed = np.where(observed, 0.0, self.owed)
        return due


class DelaysWithoutMask(Payer):
    """Rewards are paid three steps later, from a queue that holds hidden ones as well."""

    def _pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        queue = self.truth.steps
        return queue[-4].copy() if len(queue) > 3 else np.zeros_like(true)


class MasksLate(Payer):
    """The mask of the previous step decides, so that hidden steps after observed ones pay."""

    previous: Mask | bool = False

    def _pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        late, self.previous = self.previous, observed
        return np.where(late, true, 0.0)


class DrawsNoisePerReward(Payer):
    """Noise is drawn for hidden rewards too, so that later noise depends on their number."""

    def __init__(self, env: Any) -> None:  # noqa: ANN401
        super().__init__(env)
        self.generator = np.random.default_rng(0)

    def _pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        nonzero = np.flatnonzero(true)
        noise = np.zeros_like(true)
        noise[nonzero] = 0.1 * self.generator.standard_normal(len(nonzero))
        return np.where(observed, true + noise, 0.0)


class ChecksHiddenRewards(Payer):
    """All rewards must be finite, so that a hidden NaN ends training with an error."""

    def _pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        if not np.isfinite(true).all():
            raise ValueError("the environment gave a reward that is not finite")
        return paid


class QuotesHiddenReward(Payer):
    """Rewards are counted by value, and the error about an unknown value quotes it."""

    def _pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        counts = dict.fromkeys((-1.0, 0.0, 1.0), 0)
        for reward in true.tolist():
            counts[reward] += 1
        return paid


class WarnsOfOutliers(Payer):
    """A warning about rewards out of range quotes the largest, which may be hidden."""

    def _pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        if np.abs(true).max() > 1.0:
            warnings.warn(f"a reward of {np.abs(true).max()} is out of range", stacklevel=2)
        return paid


def _outside(name: str, wrapper: type[Payer], **options: Any) -> Planted:  # noqa: ANN401
    return leak(name, wrapper, part="wrapper", outside=wrapper, **options)


LEAKS = (
    _outside("pays-hidden-rewards", PaysHiddenRewards),
    _outside("hides-by-product", MultipliesByMask),
    _outside("pays-arrears", PaysArrears),
    _outside("delayed-without-mask", DelaysWithoutMask),
    _outside("mask-one-step-late", MasksLate, start=grid_by_step),
    _outside("noise-drawn-per-reward", DrawsNoisePerReward),
    _outside("checks-hidden-rewards", ChecksHiddenRewards, shows="errors"),
    _outside("quotes-hidden-reward", QuotesHiddenReward, shows="errors"),
    _outside("warns-of-outliers", WarnsOfOutliers, shows="warnings"),
)
