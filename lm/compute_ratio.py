"""The compute ratio: the share of the baseline's training that is as good as a model.

The validation loss of the baseline over its own steps s is fitted by a law that falls with them,
`L(s) = a + b (s + c)^-d`. The compute ratio of a model with loss l is `L^-1(l) / L^-1(e)`, where e
is the loss with which the baseline ends (GRAM, 2026). So 1 means as good as the baseline, and 0.5
as good as the baseline after half of its compute.

Losses of a small model do not follow a power law: they fall again when facts are learned, and when
the learning rate decays. So the steps of the law are corrected by the curve itself, which is made
monotone and interpolated in log(s + c). On a curve that is a power law this changes nothing. The
law of a curve that is none has its floor at the last loss, and would take losses just below for
endless training: there, the fall of the loss over the last doubling of the steps is continued.

Where the curve is flat, small differences of the loss are large differences of the ratio: read
both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from math import exp, inf, isfinite, log, nan
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression, least_squares

MIN_POINTS = 5
"""Fewest points of a curve: the law has four parameters."""
CAP = 2.0
"""Largest compute ratio: losses below those of the baseline are extrapolated, and not far."""

FITTING = 0.01
"""Largest relative error of a law by which losses below the curve are extrapolated."""

Array = NDArray[np.float64]

OFFSETS, EXPONENTS = (1e-3, 1e-2, 0.1, 1.0, 10.0), (0.1, 0.3, 1.0, 3.0)
"""Where fits begin: c as a share of all steps, and d."""
_BOUNDS = (np.log([1e-5, 0.02]), np.log([1e3, 50.0]))
_STARTS = 3  # number of best beginnings that are refined
_TOLERANCE = 1e-15
_HIGHEST = 300.0  # exponent that does not overflow, far beyond the cap


class PowerLaw(NamedTuple):
    """The loss `floor + height (1 + step / offset)^-exponent`, which is the law in other words."""

    floor: float
    height: float
    offset: float
    exponent: float

    def loss(self, steps: Array) -> Array:
        """Return the losses after some steps."""
        return self.floor + self.height * (1 + steps / self.offset) ** -self.exponent

    def log_time(self, losses: Array) -> Array:
        """Return log(1 + step / offset) of the step of each loss, infinite from the floor on."""
        with np.errstate(divide="ignore"):
            return -np.log(np.maximum(losses - self.floor, 0) / self.height) / self.exponent


def fit_power_law(steps: Array, losses: Array) -> PowerLaw:
    """Return the law of least squared relative errors whose floor is below all losses.

    Given offset and exponent, floor and height are a linear regression, so that two parameters are
    searched, from several beginnings.
    """
    last = steps.max()

    def law(logs: Array) -> PowerLaw:
        offset, exponent = np.exp(logs)
        shape = (1 + steps / (offset * last)) ** -exponent
        return PowerLaw(*_line(shape, losses), offset * last, exponent)

    def errors(logs: Array) -> Array:
        return law(logs).loss(steps) / losses - 1

    starts = [np.log(pair) for pair in product(OFFSETS, EXPONENTS)]
    starts.sort(key=lambda logs: float(np.square(errors(logs)).sum()))
    fits = [
        least_squares(
            errors, start, bounds=_BOUNDS, xtol=_TOLERANCE, ftol=_TOLERANCE, gtol=_TOLERANCE
        )
        for start in starts[:_STARTS]
    ]
    return law(min(fits, key=lambda fit: float(fit.cost)).x)


def _line(shape: Array, losses: Array) -> tuple[float, float]:
    """Return the floor and height of a regression of losses on a shape that falls from 1."""
    weights = 1 / losses
    table = np.stack([weights, weights * shape], axis=1)
    floor = float(np.linalg.lstsq(table, weights * losses)[0][0])
    # a floor at the least loss would put the end of the curve at infinity
    floor = min(max(floor, 0.0), losses.min() - 1e-9 * np.ptp(losses))
    squares = np.square(weights * shape).sum()
    return floor, float((weights**2 * shape * (losses - floor)).sum() / squares)


class Ratio(NamedTuple):
    """A compute ratio."""

    value: float
    capped: bool
    """Whether the ratio would be above `CAP`."""


@dataclass(frozen=True, eq=False)
class LossCurve:
    """A curve of the baseline's validation loss, from the step 0 on, made monotone."""

    law: PowerLaw
    places: Array
    """[n] log(1 + step / offset) of each point, ascending"""
    times: Array
    """[n] the same of the step at which the law has the loss of the point, ascending"""
    end: float
    """The loss with which the baseline ends."""
    lowest: float
    """The last loss of the curve, made monotone."""
    per_e_fold: float | None
    """Fall of the loss, over the last doubling of the steps, while they grow by a factor of e; None
    if the law fits the curve."""

    def steps_to(self, loss: float) -> float:
        """Return the steps after which the baseline has a loss; 0 if it begins with less.

        Losses below the end of the curve are extrapolated, by the law if it fits the curve.
        """
        time = float(self.law.log_time(np.array(loss)))
        if time <= self.times[0]:
            return 0.0
        place = float(np.interp(time, self.times, self.places))
        if self.per_e_fold is None:
            place += max(0.0, time - self.times[-1])
        steps = float(self.law.offset * np.expm1(min(place, _HIGHEST)))
        if self.per_e_fold is None or loss >= self.lowest:
            return steps
        further = (self.lowest - loss) / self.per_e_fold if self.per_e_fold > 0 else inf
        return steps * exp(min(further, _HIGHEST))

    def ratio(self, loss: float) -> Ratio:
        """Return the compute ratio of a model with a loss; NaN for a loss that is not finite."""
        if not isfinite(loss):
            return Ratio(nan, capped=False)
        value = self.steps_to(loss) / self.steps_to(self.end)
        return Ratio(min(value, CAP), capped=value > CAP)


def fit_curve(points: Mapping[int, float]) -> LossCurve:
    """Return the curve of the losses of the baseline by finished steps.

    Raises:
        ValueError: if there are fewer than `MIN_POINTS` points, one is not positive and finite, or
            the curve does not fall.
    """
    steps = np.array(sorted(points), np.float64)
    losses = np.array([points[step] for step in sorted(points)], np.float64)
    if len(steps) < MIN_POINTS:
        raise ValueError(
            f"a validation curve of {len(steps)} points was given: a fit needs {MIN_POINTS} or "
            "more, so train for more steps"
        )
    if not (np.isfinite(losses) & (losses > 0)).all() or not losses[-1] < losses[0]:
        raise ValueError(
            f"a validation curve from {losses[0]:g} to {losses[-1]:g} was given: compute is "
            "measured on positive losses that fall, so train for more steps, or more slowly"
        )
    law = fit_power_law(steps, losses)
    monotone = isotonic_regression(losses, increasing=False)
    firsts, lasts = monotone.blocks[:-1], monotone.blocks[1:] - 1
    middles = (steps[firsts] + steps[lasts]) / 2
    middles[0] = steps[0]
    places, times = np.log1p(middles / law.offset), law.log_time(monotone.x[firsts])
    lowest, per_e_fold = float(monotone.x[-1]), None
    if np.abs(law.loss(steps) / losses - 1).max() > FITTING:
        half = float(np.interp(steps[-1] / 2, steps, monotone.x))
        per_e_fold = (half - lowest) / log(2)
    return LossCurve(law, places, times, float(losses[-1]), lowest, per_e_fold)
