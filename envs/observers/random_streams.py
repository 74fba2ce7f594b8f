"""Counter-based random numbers: every draw is a pure function of a seed and an episode's number.

A generator object for each lane would cost a Python call for each reset. Counter-based draws are
computed for many lanes at once, and for any episode without playing those before it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Words = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def lane_seeds(seed: int | Sequence[int], num_lanes: int) -> Words:
    """Return the seed of every lane: s, s + 1, ... modulo 2**64, or those given.

    Raises:
        ValueError: If a sequence is not `num_lanes` integers from 0 to 2**64 - 1.
    """
    if isinstance(seed, int):
        return np.uint64(seed % 2**64) + np.arange(num_lanes, dtype=np.uint64)
    seeds = np.asarray(seed)
    if seeds.shape != (num_lanes,) or seeds.dtype.kind not in "iu" or seeds.min() < 0:
        raise ValueError(
            f"seed must be an integer or a sequence of {num_lanes} integers "
            f"from 0 to 2**64 - 1, got {seed!r}"
        )
    return seeds.astype(np.uint64)


def split(state: Words, index: Words) -> Words:
    """Return the index-th output of SplitMix64 started at a state (Steele et al. 2014)."""
    word: Words = state + (index + np.uint64(1)) * _GOLDEN
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


def words(seed: Words, episode: Words, num_streams: int) -> Words:
    """Draw independent 64-bit words, one for each stream, for each lane's episode.

    A seed starts a SplitMix64 sequence of episode keys, and each key a sequence of words.

    Args:
        seed: Seed of each lane, [n].
        episode: Episode number of each lane, [n].
        num_streams: Number of words for each lane.

    Returns:
        Words, [num_streams, n].
    """
    lane = split(seed, np.zeros_like(seed))
    key = split(lane, episode)
    return split(key, np.arange(num_streams, dtype=np.uint64)[:, None])


def uniform(word: Words) -> NDArray[np.float64]:
    """Map words to evenly spaced numbers in [0, 1)."""
    return (word >> np.uint64(11)) * np.float64(2**-53)


def normal(word: Words) -> NDArray[np.float64]:
    """Map words to numbers of the standard normal distribution, all of them finite."""
    # Midpoints of 2**52 equal cells of (0, 1), which floats hold exactly: none is 0 or 1.
    middle = ((word >> np.uint64(12)) + np.float64(0.5)) * np.float64(2**-52)
    return ndtri(middle)  # type: ignore[no-any-return]


def distinct_cells(word: Words, num_cells: int) -> tuple[NDArray[np.intp], ...]:
    """Map words to three distinct cells, every ordered triple equally likely.

    Args:
        word: One word for each lane, [n].
        num_cells: Number of cells, whose cube must be far below 2**64.

    Returns:
        Three arrays of cells, [n] each.
    """
    rest, first = np.divmod(word, np.uint64(num_cells))
    rest, second = np.divmod(rest, np.uint64(num_cells - 1))
    third = rest % np.uint64(num_cells - 2)
    # Later draws number the cells still free, so skip those already taken.
    second += second >= first
    third += third >= np.minimum(first, second)
    third += third >= np.maximum(first, second)
    return first.astype(np.intp), second.astype(np.intp), third.astype(np.intp)
