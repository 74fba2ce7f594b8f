"""Pools of documents that never overlap: each document is of one, by its number alone."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lm.data.labelers import Labels
from lm.training.routes import LABELS

SHARES = {"train": 0.7, "exam": 0.1, "practice": 0.1, "attack": 0.1}
"""What part of the documents is to learn from, to be examined on, to calibrate on, to attack with.

Which document is in which pool is no setting, so that no two runs on the same data differ in it.
"""

SEED = 20_260_101


class Pools:
    """Documents by pool and label.

    Args:
        labels: of all documents, by number.
    """

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        drawn = np.random.default_rng(SEED).random(len(labels))
        self.pools = np.searchsorted(np.cumsum(list(SHARES.values()))[:-1], drawn, side="right")

    def members(self, pool: str, label: int | None = None) -> NDArray[np.int64]:
        """Return the numbers of the documents of a pool, of all labels or of one."""
        chosen = self.pools == list(SHARES).index(pool)
        if label is not None:
            chosen &= self.labels == label
        return np.flatnonzero(chosen)

    def draw(
        self, pool: str, count: int, seed: Sequence[int], label: int | None = None
    ) -> NDArray[np.int64]:
        """Return the numbers of some documents of a pool in random order, none twice.

        Raises:
            ValueError: if the pool has fewer.
        """
        found = self.members(pool, label)
        if len(found) < count:
            kind = "" if label is None else f" labelled {LABELS[label]}"
            raise ValueError(
                f"{count} documents{kind} were asked of the pool {pool!r}, which has {len(found)} "
                f"({SHARES[pool]:.0%} of all): prepare more, or ask for fewer"
            )
        return np.random.default_rng(list(seed)).permutation(found)[:count]
