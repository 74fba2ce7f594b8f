"""A random order has each number once, whatever its length, and looks random."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lm.data.order import shuffled


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 3000), seed=st.lists(st.integers(0, 2**40), min_size=1, max_size=2))
def test_each_number_comes_once(count: int, seed: list[int]) -> None:
    order = shuffled(np.arange(count), count, seed)
    assert np.array_equal(np.sort(order), np.arange(count))


@given(place=st.integers(0, 2**40 - 1))
def test_a_place_of_an_order_too_long_to_hold_is_found(place: int) -> None:
    asked = np.array([place, (place + 1) % 2**40])
    first, second = shuffled(asked, 2**40, [0])
    assert first != second
    assert 0 <= first < 2**40
    assert shuffled(asked[1:], 2**40, [0])[0] == second


def test_orders_are_uniform_and_neighbors_apart() -> None:
    count, seeds = 10, 2000
    orders = np.stack([shuffled(np.arange(count), count, [seed, 0]) for seed in range(seeds)])
    expected, deviation = seeds / count, np.sqrt(seeds / count * (1 - 1 / count))
    for place in range(count):
        counts = np.bincount(orders[:, place], minlength=count)
        assert np.abs(counts - expected).max() < 5 * deviation
    long = shuffled(np.arange(10_000), 10_000, [0, 1])
    assert abs(np.corrcoef(long[:-1], long[1:])[0, 1]) < 5 / 100  # five standard deviations
    assert abs(np.corrcoef(np.arange(10_000), long)[0, 1]) < 5 / 100
    assert not np.array_equal(long, shuffled(np.arange(10_000), 10_000, [0, 2]))
