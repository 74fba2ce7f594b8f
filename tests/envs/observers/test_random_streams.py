"""The counter-based random numbers are pure, uniform and independent."""

from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from envs.observers import random_streams

Words = NDArray[np.uint64]

NUM_LANES, NUM_EPISODES = 400, 500
CORNERS: dict[str, tuple[int, int]] = {  # first seed, first episode
    "small numbers": (0, 0),
    "large numbers": (2**63 - 200, 2**40),
    "seeds that wrap around": (2**64 - 200, 0),
}


def draw(first_seed: int = 0, first_episode: int = 0) -> Words:
    """Words of a block of consecutive lanes and episodes, [3, lanes, episodes]."""
    seeds = random_streams.lane_seeds(first_seed, NUM_LANES).repeat(NUM_EPISODES)
    episodes = np.tile(
        np.arange(first_episode, first_episode + NUM_EPISODES, dtype=np.uint64), NUM_LANES
    )
    return random_streams.words(seeds, episodes, 3).reshape(3, NUM_LANES, NUM_EPISODES)


def chi_square_sigmas(counts: NDArray[np.int64]) -> float:
    """How many standard deviations above its mean the uniformity statistic lies."""
    expected = counts.sum() / counts.size
    freedom = counts.size - 1
    statistic = ((counts - expected) ** 2 / expected).sum()
    return float((statistic - freedom) / np.sqrt(2 * freedom))


def test_split_is_splitmix64() -> None:
    """The first outputs published for the seed 1234567."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    state = np.array([1234567], dtype=np.uint64)
    assert random_streams.split(state, np.arange(3, dtype=np.uint64)).tolist() == published


@pytest.mark.parametrize("corner", CORNERS)
def test_every_bit_is_fair(corner: str) -> None:
    words = draw(*CORNERS[corner]).reshape(3, -1)
    for bit in range(64):
        ones = ((words >> np.uint64(bit)) & np.uint64(1)).sum(axis=1, dtype=np.int64)
        sigmas = (ones - words.shape[1] / 2) / np.sqrt(words.shape[1] / 4)
        assert np.abs(sigmas).max() < 5


def test_normal_numbers_are_finite_symmetric_and_quantiles_of_the_words() -> None:
    words = np.array([0, 2**62, 2**63, 3 * 2**62, 2**64 - 1], dtype=np.uint64)
    low, lower_quartile, middle, upper_quartile, high = random_streams.normal(words)
    assert low == pytest.approx(NormalDist().inv_cdf(2**-53))
    assert [-low, lower_quartile, middle] == pytest.approx([high, -upper_quartile, 0], abs=1e-12)
    assert upper_quartile == pytest.approx(NormalDist().inv_cdf(0.75))


PAIRS: dict[str, Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], ...]]] = {
    "neighboring lanes": lambda u: (u[:, :-1], u[:, 1:]),
    "neighboring episodes": lambda u: (u[:, :, :-1], u[:, :, 1:]),
    "lane and episode exchanged": lambda u: (u[:, :, :NUM_LANES], u[:, :, :NUM_LANES].mT),
    "streams": lambda u: (u, np.roll(u, 1, axis=0)),
}


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("pair", PAIRS)
def test_pairs_of_uniforms_fill_the_square_evenly(corner: str, pair: str) -> None:
    uniforms = random_streams.uniform(draw(*CORNERS[corner]))
    first, second = PAIRS[pair](uniforms)
    if pair == "lane and episode exchanged":  # a point and its mirror image count once
        above = np.triu_indices(NUM_LANES, 1)
        first, second = first[:, *above], second[:, *above]
    bins = 16
    cell = (first * bins).astype(np.int64) * bins + (second * bins).astype(np.int64)
    assert abs(chi_square_sigmas(np.bincount(cell.ravel(), minlength=bins**2))) < 5


def test_words_do_not_repeat() -> None:
    words = draw()
    assert np.unique(words).size == words.size


@given(seed=st.integers(0, 2**64 - 1), episode=st.integers(0, 2**64 - 1), lanes=st.integers(1, 5))
def test_a_lane_does_not_depend_on_its_neighbors(seed: int, episode: int, lanes: int) -> None:
    seeds = random_streams.lane_seeds(seed, lanes)
    episodes = np.full(lanes, episode, dtype=np.uint64)
    batch = random_streams.words(seeds, episodes, 3)
    alone = [
        random_streams.words(seeds[i : i + 1], episodes[i : i + 1], 3)[:, 0] for i in range(lanes)
    ]
    np.testing.assert_array_equal(batch, np.stack(alone, axis=-1))


@given(word=st.integers(0, 2**64 - 1), num_cells=st.integers(3, 10_000))
def test_cells_are_distinct_and_on_the_grid(word: int, num_cells: int) -> None:
    cells = random_streams.distinct_cells(np.array([word], dtype=np.uint64), num_cells)
    values = {int(cell[0]) for cell in cells}
    assert len(values) == 3
    assert min(values) >= 0
    assert max(values) < num_cells


@pytest.mark.parametrize("num_cells", [4, 9, 25])
def test_every_ordered_triple_comes_exactly_once(num_cells: int) -> None:
    triples = num_cells * (num_cells - 1) * (num_cells - 2)
    cells = random_streams.distinct_cells(np.arange(triples, dtype=np.uint64), num_cells)
    assert np.unique(np.stack(cells), axis=1).shape == (3, triples)


def test_uniforms_stay_below_one() -> None:
    ends = random_streams.uniform(np.array([0, 2**64 - 1], dtype=np.uint64))
    assert ends[0] == 0
    assert 1 - 2**-52 < ends[1] < 1


@pytest.mark.parametrize("seed", [[1], [1, -2], [1.0, 2.0], [1, 2**64], "ab"])
def test_lane_seeds_are_refused_when_invalid(seed: list[int]) -> None:
    with pytest.raises(ValueError, match="seed must be an integer or a sequence of 2 integers"):
        random_streams.lane_seeds(seed, 2)
