"""Random orders of any length that take no memory: a place in, what is there out.

A Feistel network permutes the numbers below a power of four; a number that is out of range goes
through it again until it is in range, which leaves a permutation (Black and Rogaway 2002, "Ciphers
with arbitrary finite domains").
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ROUNDS = 6


def shuffled(places: NDArray[np.int64], count: int, seed: Sequence[int]) -> NDArray[np.int64]:
    """Return what a random order of the numbers below count has at some places.

    Args:
        places: each from 0 to below count.
        count: 1 or more.
        seed: of the order.

    >>> sorted(shuffled(np.arange(5), 5, [0, 1]).tolist())
    [0, 1, 2, 3, 4]
    """
    half = max(1, -(-(count - 1).bit_length() // 2))
    keys = np.random.default_rng(list(seed)).integers(0, 2**64, ROUNDS, np.uint64)
    numbers = _permuted(places.astype(np.uint64), half, keys)
    while (outside := numbers >= count).any():
        numbers[outside] = _permuted(numbers[outside], half, keys)
    return numbers.astype(np.int64)


def _permuted(
    numbers: NDArray[np.uint64], half: int, keys: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """Permute the numbers below 4 to the power of half."""
    low_bits = np.uint64(2**half - 1)
    high, low = numbers >> np.uint64(half), numbers & low_bits
    for key in keys:
        high, low = low, high ^ (_mixed(low ^ key) & low_bits)
    return (high << np.uint64(half)) | low


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix all bits of each number (the finalizer of splitmix64; Steele, Lea and Flood 2014)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
