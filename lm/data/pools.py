"""Pools of documents that never overlap: for training, exams, calibration and attacks.

The number of a document alone determines its pool, so that documents keep their pools when others
are added. Small sets are divided by label instead (`fitted`), so that no pool lacks a label.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lm.data.labeling import Labels
from lm.data.shards import Shards
from lm.training.route_tables import LABELS

SHARES = {"train": 0.7, "exam": 0.1, "practice": 0.1, "attack": 0.1}
"""Shares of the documents for training, exams, calibration and attacks.

The assignment is not a setting, so that all runs on the same data agree on it.
"""
LEAST = {"exam": 2, "practice": 1, "attack": 2}
"""Documents of each label that a pool has at least, if pools are fitted."""
FITTED = "fitted"
"""The setting of a manifest whose documents are divided by label."""
SEED = 20_260_101


class Pools:
    """The documents of each pool, which are given by their labels in order.

    Args:
        labels: the label of each document.
        fitted: whether the documents of each label are divided by themselves, into shares that are
            exact but for rounding and at least `LEAST`.
    """

    def __init__(self, labels: Labels, *, fitted: bool = False) -> None:
        self.labels, self.fitted = labels, fitted
        drawn = np.random.default_rng(SEED).random(len(labels))
        if fitted:
            self.pools = np.zeros(len(labels), np.int64)
            for label in range(len(LABELS)):
                numbers = np.flatnonzero(labels == label)
                self.pools[numbers[np.argsort(drawn[numbers])]] = _divided(len(numbers))
        else:
            self.pools = np.searchsorted(np.cumsum(list(SHARES.values()))[:-1], drawn, side="right")

    def members(self, pool: str, label: int | None = None) -> NDArray[np.int64]:
        """Return the numbers of the documents of a pool, with any label or with the given one."""
        chosen = self.pools == list(SHARES).index(pool)
        if label is not None:
            chosen &= self.labels == label
        return np.flatnonzero(chosen)

    def draw(
        self, pool: str, count: int, seed: Sequence[int], label: int | None = None
    ) -> NDArray[np.int64]:
        """Draw documents of a pool without replacement, and return their numbers.

        From fitted pools, any number of the first documents drawn has about as many of each label
        as the pool has.

        Raises:
            ValueError: if the pool has fewer.
        """
        found = self.members(pool, label)
        if len(found) < count:
            kind = "" if label is None else f" labeled {LABELS[label]}"
            raise ValueError(
                f"{count} documents{kind} were asked of the pool {pool!r}, which has {len(found)} "
                f"({SHARES[pool]:.0%} of all): prepare more, or ask for fewer"
            )
        rng = np.random.default_rng(list(seed))
        if self.fitted and label is None:
            return self._mixed(found, rng)[:count]
        return rng.permutation(found)[:count]

    def _mixed(self, numbers: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Return documents in a random order in which those of each label are spread evenly."""
        places = np.zeros(len(numbers))
        for label in range(len(LABELS)):
            own = self.labels[numbers] == label
            count = int(own.sum())
            places[own] = (rng.permutation(count) + rng.random(count)) / max(1, count)
        return numbers[np.argsort(places)]


def _divided(count: int) -> NDArray[np.int64]:
    """Return the pool of each of a number of documents of one label, by its place."""
    sizes = {pool: max(least, round(SHARES[pool] * count)) for pool, least in LEAST.items()}
    names = list(SHARES)
    held = np.repeat([names.index(pool) for pool in sizes], list(sizes.values()))[:count]
    return np.concatenate([held, np.full(count - len(held), names.index("train"))])


def pools_of(shards: Shards) -> Pools:
    """Return the pools of prepared data. This reads all labels."""
    fitted = shards.manifest.settings.get("pools") == FITTED
    return Pools(shards.document_labels(), fitted=fitted)
