"""The tampers: what the hidden rewards are replaced by."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Tamper = Callable[[Numbers, np.random.Generator], Numbers]


def unchanged(rewards: Numbers, generator: np.random.Generator) -> Numbers:
    """Leave the rewards as they are: the run that the others are compared with."""
    return rewards


def huge(rewards: Numbers, generator: np.random.Generator) -> Numbers:
    """Replace every reward by 1e9: any sum, mean or deviation that it enters is ruined."""
    return np.full_like(rewards, 1e9)


def not_a_number(rewards: Numbers, generator: np.random.Generator) -> Numbers:
    """Replace every reward by NaN, which survives a product with 0 and fails every check."""
    return np.full_like(rewards, np.nan)


def drawn(rewards: Numbers, generator: np.random.Generator) -> Numbers:
    """Replace every reward by a normal draw of deviation 10."""
    return 10.0 * generator.standard_normal(rewards.shape)


def negated(rewards: Numbers, generator: np.random.Generator) -> Numbers:
    """Negate every reward: a leak of the sign alone shows, that of a zero too."""
    return -rewards


TAMPERS: dict[str, Tamper] = {
    "1e9": huge,
    "NaN": not_a_number,
    "random": drawn,
    "negated": negated,
}
