"""Coins fall at their rates, rates nest, and a budget is used up exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs import (
    Budget,
    EpisodeCoin,
    Schedule,
    StepCoin,
    StepDecay,
)
from envs.observers import StepContext
from tests.envs.observers.contexts import PROBABILITY, SEED, make_context, near


@pytest.mark.parametrize("make", [EpisodeCoin, StepCoin, lambda p: Schedule(lambda clock: p)])
@settings(max_examples=20, deadline=None)
@given(seed=SEED, chance=PROBABILITY)
def test_coins_observe_at_their_rates(make: type, seed: int, chance: float) -> None:
    size = 4000
    observed = make(chance).decide(
        make_context(seed, size)._replace(episode=np.arange(size, dtype=np.uint64))
    )[0]
    assert near(observed.sum(), size, chance)


@pytest.mark.parametrize("make", [EpisodeCoin, StepCoin])
@settings(max_examples=20, deadline=None)
@given(seed=SEED, low=PROBABILITY, high=PROBABILITY)
def test_higher_probability_only_adds_observed_steps(
    make: type, seed: int, low: float, high: float
) -> None:
    low, high = sorted((low, high))
    many = make_context(seed, 500)
    assert np.all(make(low).decide(many)[0] <= make(high).decide(many)[0])


@settings(max_examples=30, deadline=None)
@given(seed=SEED, episodes=st.integers(0, 12), every=st.integers(1, 9))
def test_budget_is_used_up_exactly_and_has_its_cost(seed: int, episodes: int, every: int) -> None:
    total = every * 15
    lane = np.full(total, seed, dtype=np.uint64)
    many = StepContext(lane, np.arange(total, dtype=np.uint64), lane, lane)
    budget = Budget(episodes, every)
    observed = budget.decide(many).observed
    assert observed.sum() == episodes
    assert np.all(observed.reshape(15, every).sum(axis=1) <= 1)
    assert np.all(observed <= Budget(episodes + 1, every).decide(many).observed)
    assert budget.cost(total) == total + 1000 * episodes


def test_streams_are_independent_and_so_are_steps_and_episodes() -> None:
    many = make_context(0, 20_000)._replace(episode=np.arange(20_000, dtype=np.uint64))
    coins = [EpisodeCoin(0.5), EpisodeCoin(0.5, 1), StepCoin(0.5), StepCoin(0.5, 1)]
    falls = np.corrcoef([coin.decide(many).observed for coin in coins])
    assert np.abs(falls - np.eye(4)).max() < 5 / np.sqrt(20_000)


def test_schedule_switches_observers() -> None:
    first = Schedule(lambda episode: episode < 10)
    many = make_context(0, 500)
    late = many.episode >= 10
    observed = (first | StepCoin(0.1)).decide(many).observed
    assert observed[~late].all()
    np.testing.assert_array_equal(observed[late], StepCoin(0.1).decide(many).observed[late])


@pytest.mark.parametrize("clock", [0, 1, 500, 3000])
def test_step_decay_observes_a_lanes_step_with_the_rate_to_the_power_of_its_clock(
    clock: int,
) -> None:
    size = 20_000
    many = make_context(0, size)
    step = np.minimum(many.step, np.uint64(clock))
    many = many._replace(step=step, played=np.uint64(clock) - step)
    observed = StepDecay(0.999).decide(many).observed
    assert near(observed.sum(), size, 0.999**clock)
    assert np.array_equal(observed, StepDecay(0.999).decide(many).observed)
    assert np.array_equal(StepDecay(1).decide(many).observed, np.ones(size, dtype=np.bool_))
