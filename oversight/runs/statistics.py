"""Interquartile means, differences and probabilities of improvement, with bootstrap intervals.

The statistics are those of Agarwal et al. 2021 (arXiv 2108.13264). A sample holds the scores of one
cell, one per seed. Several samples are strata: each is resampled within itself, and the statistic
pools them. Every interval is a 95% percentile interval, drawn from a generator of its own, so that
the same samples give the same bits whatever was computed before.
"""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite, isnan, nan
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Sample = NDArray[np.float64]
Statistic = Callable[..., Any]

RESAMPLES = 10_000
LEVEL = 0.95
SEED = 20_261_122
_BATCH = 2_000  # resamples at a time, so that all pairs of 20 seeds fit into a few megabytes

MIN_SEEDS = 3
"""Fewest seeds for a comparison: the bootstrap interval of two seeds is no more than the two."""


class Estimate(NamedTuple):
    """A value and its interval, whose ends are NaN where a single seed leaves them unknown.

    Attributes:
        value: the statistic of the samples.
        low: lower end of the interval.
        high: upper end of the interval.
        seeds: size of the smallest sample.
    """

    value: float
    low: float
    high: float
    seeds: int

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return not isnan(self.low)


UNKNOWN = Estimate(nan, nan, nan, 0)


def iqm(scores: Any, axis: int = -1) -> Any:  # noqa: ANN401
    """Return the interquartile mean: a quarter of the scores is cut off at either end.

    >>> float(iqm([0.0, 1.0, 3.0, 100.0]))
    2.0
    """
    from scipy import stats  # noqa: PLC0415 (slow to import, and training reads no statistics)

    return stats.trim_mean(scores, 0.25, axis=axis)


def interval(strata: Sequence[Sample]) -> Estimate:
    """Return the IQM of all samples pooled.

    >>> interval([np.array([0.5, 0.5, 0.5])])
    Estimate(value=0.5, low=0.5, high=0.5, seeds=3)
    """
    return bootstrap(strata, lambda *samples, axis: iqm(np.concatenate(samples, axis), axis))


def estimate(values: Sequence[float]) -> Estimate:
    """Return the IQM of those values that are finite; NaN of no seed if none is.

    >>> estimate([1.0, 1.0, nan])
    Estimate(value=1.0, low=1.0, high=1.0, seeds=2)
    """
    return interval([np.array([value for value in values if isfinite(value)], np.float64)])


def difference(one: Sample, other: Sample) -> Estimate:
    """Return the IQM of one sample minus that of another, which holds other runs."""
    return bootstrap([one, other], _difference_of_iqms)


def paired_difference(one: Sample, other: Sample) -> Estimate:
    """Return the IQM of one sample minus that of another, of the same runs in the same order."""
    return bootstrap([one, other], _difference_of_iqms, paired=True)


def difference_by_seed(one: Mapping[int, float], other: Mapping[int, float]) -> Estimate:
    """Return the IQM of the differences of two scores over the seeds that both have.

    >>> difference_by_seed({0: 3.0, 1: 4.0}, {1: 1.0, 2: 9.0}).value
    3.0
    """
    return estimate([one[seed] - other[seed] for seed in one if seed in other])


def relative_change_by_seed(one: Mapping[int, float], other: Mapping[int, float]) -> Estimate:
    """Return the IQM of `one / other - 1` over the seeds that both have, if `other` is not 0.

    >>> relative_change_by_seed({0: 3.0}, {0: 2.0}).value
    0.5
    """
    return estimate([one[seed] / other[seed] - 1 for seed in one if other.get(seed)])


def is_significant(difference: Estimate) -> bool:
    """Return whether the interval of a difference excludes zero, over at least `MIN_SEEDS` seeds.

    >>> is_significant(Estimate(0.2, 0.1, 0.3, 5)), is_significant(Estimate(0.2, 0.1, 0.3, 2))
    (True, False)
    """
    return difference.seeds >= MIN_SEEDS and (difference.low > 0 or difference.high < 0)


def improvement(ones: Sequence[Sample], others: Sequence[Sample]) -> Estimate:
    """Return the probability that a run of one method beats a run of another; ties count half.

    Args:
        ones: a sample of each stratum, such as of each oversight level.
        others: the same of the other method, stratum by stratum; all strata have equal weight.
    """
    half = len(ones)

    def mean_over_strata(*samples: Any, axis: int) -> Any:  # noqa: ANN401
        pairs = zip(samples[:half], samples[half:], strict=True)
        return np.mean([_share_of_wins(one, other) for one, other in pairs], axis=0)

    return bootstrap([*ones, *others], mean_over_strata)


def bootstrap(samples: Sequence[Sample], statistic: Statistic, *, paired: bool = False) -> Estimate:
    """Return a statistic of samples and its interval.

    Args:
        samples: resampled each within itself, or all by the same indices if paired.
        statistic: function of the samples and of the axis along which their scores lie.
        paired: whether the samples belong to the same runs, in the same order.
    """
    from scipy import stats  # noqa: PLC0415 (slow to import, and training reads no statistics)

    seeds = min((len(sample) for sample in samples), default=0)
    if seeds == 0:
        return UNKNOWN
    value = float(statistic(*samples, axis=-1))
    if seeds == 1:
        return Estimate(value, nan, nan, 1)
    low, high = stats.bootstrap(
        samples,
        statistic,
        paired=paired,
        vectorized=True,
        axis=-1,
        n_resamples=RESAMPLES,
        batch=_BATCH,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return Estimate(value, float(low), float(high), seeds)


def _difference_of_iqms(one: Any, other: Any, axis: int) -> Any:  # noqa: ANN401
    return iqm(one, axis) - iqm(other, axis)


def _share_of_wins(one: Any, other: Any) -> Any:  # noqa: ANN401
    """Return the share of pairs that `one` wins; the scores of both lie on the last axis."""
    ahead = np.asarray(one)[..., :, None] - np.asarray(other)[..., None, :]
    return (0.5 + 0.5 * np.sign(ahead)).mean(axis=(-2, -1))
