"""Which route each episode takes: its own, a shuffled one, or its own by chance."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from agents.rollout_buffer import (
    HIDDEN,
    NEGATIVE,
    OPEN,
    POSITIVE,
    UNRESOLVED,
    UNUSED,
    assign,
    by_coin,
    shuffled,
)
from tests.agents.exact import rollout
from tests.agents.small import ROLLOUT, small_agent

LAST = arrays(
    np.int8, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(UNUSED, OPEN)
)
Routes = NDArray[np.int8]


def pool(last: Routes, unfinished: Routes) -> list[int]:
    """Return the route of every episode of a rollout, lane by lane."""
    of_lanes = [
        [route for route in lane if route >= 0] + ([running] if lane[-1] == UNRESOLVED else [])
        for lane, running in zip(last.T.tolist(), unfinished.tolist(), strict=True)
    ]
    return [route for lane in of_lanes for route in lane]


def select(last: Routes, how: Any, seed: int = 0, **told: Any) -> tuple[Routes, Routes]:  # noqa: ANN401
    unfinished = np.full(last.shape[1], OPEN, np.int8)
    return assign(last, unfinished, how, np.random.RandomState(seed), **told)


@given(LAST, st.integers(0, 2**32 - 1))
def test_shuffling_deals_out_the_same_routes(last: Routes, seed: int) -> None:
    kept = last.copy()
    dealt, running = select(last, shuffled, seed)
    expected = pool(last, np.full(last.shape[1], OPEN, np.int8))
    assert sorted(pool(dealt, running)) == sorted(expected)
    np.testing.assert_array_equal(dealt[last < 0], last[last < 0])
    np.testing.assert_array_equal(last, kept)
    assert dealt.dtype == running.dtype == np.int8


@given(LAST, st.sampled_from([0.25, 1.0]))
def test_the_coin_keeps_a_route_or_hides_it(last: Routes, chance: float) -> None:
    kept, running = select(last, by_coin, propensity=chance)
    for old, new in zip(last.flat, kept.flat, strict=True):
        if old < 0:
            assert new == old
        else:
            heads = OPEN if old == HIDDEN else old
            assert new in ({heads} if chance == 1 else {heads, HIDDEN})
    assert set(running.tolist()) <= ({OPEN} if chance == 1 else {OPEN, HIDDEN})


def test_the_coin_has_its_chance_whatever_the_outcome() -> None:
    last = np.random.default_rng(0).integers(POSITIVE, OPEN + 1, (400, 100)).astype(np.int8)
    kept, _ = select(last, by_coin, propensity=0.3)
    for route in (POSITIVE, NEGATIVE, HIDDEN, OPEN):
        share = np.mean(kept[last == route] != HIDDEN)
        assert abs(share - 0.3) < 5 * (0.3 * 0.7 / (last == route).sum()) ** 0.5


def test_shuffled_routes_tell_nothing_of_their_episodes() -> None:
    last = np.repeat(np.array([[POSITIVE, NEGATIVE]], np.int8), 4000, axis=0)
    dealt, _ = select(last, shuffled)
    assert abs(np.mean(dealt[:, 0] == POSITIVE) - 0.5) < 0.04
    assert np.mean(dealt == POSITIVE) == 0.5


@pytest.mark.parametrize("method", ["placebo", "filtered-coin", "oracle-sampled"])
def test_a_rollout_keeps_the_routes_that_it_drew(method: str) -> None:
    agent = small_agent(method).learn(ROLLOUT)
    buffer = agent.rollout_buffer
    routes = buffer.routes()
    np.testing.assert_array_equal(buffer.routes(), routes)
    assert sorted(rollout(agent).routes.tolist()) == sorted(routes.flat)
    outcomes = buffer.last_route, buffer.outcomes.unfinished()
    again = [assign(*outcomes, buffer.assignment, buffer.order, 0.5) for _ in range(2)]
    assert (again[0][0] != again[1][0]).any()  # each rollout draws anew


def test_a_coin_that_always_keeps_is_the_oracle() -> None:
    sampled, whole = (
        small_agent(name, propensity=1.0).learn(ROLLOUT) for name in ("oracle-sampled", "oracle")
    )
    np.testing.assert_array_equal(sampled.rollout_buffer.rewards, whole.rollout_buffer.rewards)
    routes = whole.rollout_buffer.routes()
    expected = np.where(routes == HIDDEN, OPEN, routes)
    np.testing.assert_array_equal(sampled.rollout_buffer.routes(), expected)


def test_halves_are_blended_without_a_mixture() -> None:
    agent = small_agent("unmixed").learn(ROLLOUT)
    net: Any = agent.policy.mlp_extractor
    assert net.mixture is None
    features = torch.randn(5, 100)
    with torch.no_grad():
        halves = (net.experts["goal"](features) + net.experts["proxy"](features)) / 2
        assert torch.equal(net.forward_actor(features), halves)
        alone: Any = agent.deployed().mlp_extractor
        assert torch.equal(alone.forward_actor(features), net.experts["goal"](features))
