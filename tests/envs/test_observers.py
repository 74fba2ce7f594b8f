"""Observers are pure, have the frequencies that they say, and nest across rates."""

import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs import (
    Adversarial,
    Budget,
    EpisodeCoin,
    Noisy,
    NoisyFlag,
    Query,
    Region,
    Schedule,
    StepCoin,
    random_streams,
)
from envs.observers import Decision, InformationLevel, Observer, StepContext

PROBABILITY = st.floats(0, 1)
SEED = st.integers(0, 2**64 - 1)


def ramp(clock: np.ndarray) -> np.ndarray:
    return np.minimum(clock / 100, 1.0)


def positive(observation: np.ndarray) -> np.ndarray:
    return observation > 0


def near(count: int, size: int, chance: float) -> bool:
    """Whether so many of independent draws fell, within five deviations; one more where few do."""
    return bool(abs(count - size * chance) <= 5 * (np.sqrt(size * chance * (1 - chance)) + 1))


OBSERVERS: dict[str, Observer] = {
    "EpisodeCoin": EpisodeCoin(0.3),
    "StepCoin": StepCoin(0.3),
    "Schedule by episode": Schedule(ramp),
    "Schedule by step": Schedule(ramp, by="step"),
    "Budget": Budget(40, every=5),
    "Region": Region(positive),
    "Noisy": Noisy(StepCoin(0.5), flip=0.2, miss=0.1),
    "Adversarial": Adversarial(EpisodeCoin(0.5), 20, every=5),
    "Query": Query(rule=positive),
    "both": EpisodeCoin(0.5) & StepCoin(0.5, stream=2),
    "either": ~EpisodeCoin(0.5) | Budget(10),
}


def context(seed: int, size: int) -> StepContext:
    """Random moments of many lanes."""
    draw = np.random.default_rng(seed % 2**32)
    episode, step, played = draw.integers(0, 200, size=(3, size)).astype(np.uint64)
    seeds = random_streams.lane_seeds(seed, size)
    asked = draw.integers(2, size=size).astype(np.bool_)
    return StepContext(seeds, episode, step, played, draw.normal(size=size), asked)


def masks(decision: Decision) -> list[np.ndarray]:
    return [decision.watched, *(decision.flips or ())]


@pytest.mark.parametrize("name", OBSERVERS)
@settings(max_examples=25, deadline=None)
@given(seed=SEED)
def test_a_lane_does_not_depend_on_its_neighbors(name: str, seed: int) -> None:
    observer, many = OBSERVERS[name], context(seed, 6)
    decided = observer.decide(many)
    for lane in range(6):
        one = StepContext._make(None if part is None else part[lane : lane + 1] for part in many)
        alone = observer.decide(one)
        assert [bool(mask[lane]) for mask in masks(decided)] == [
            bool(mask[0]) for mask in masks(alone)
        ]


@pytest.mark.parametrize("make", [EpisodeCoin, StepCoin, lambda p: Schedule(lambda clock: p)])
@settings(max_examples=20, deadline=None)
@given(seed=SEED, chance=PROBABILITY)
def test_coins_fall_as_often_as_they_say(make: type, seed: int, chance: float) -> None:
    size = 4000
    watched = make(chance).decide(
        context(seed, size)._replace(episode=np.arange(size, dtype=np.uint64))
    )[0]
    assert near(watched.sum(), size, chance)


@pytest.mark.parametrize("make", [EpisodeCoin, StepCoin])
@settings(max_examples=20, deadline=None)
@given(seed=SEED, low=PROBABILITY, high=PROBABILITY)
def test_rates_nest(make: type, seed: int, low: float, high: float) -> None:
    low, high = sorted((low, high))
    many = context(seed, 500)
    assert np.all(make(low).decide(many)[0] <= make(high).decide(many)[0])


@settings(max_examples=30, deadline=None)
@given(seed=SEED, episodes=st.integers(0, 12), every=st.integers(1, 9))
def test_a_budget_is_used_up_exactly_and_costs_what_it_says(
    seed: int, episodes: int, every: int
) -> None:
    total = every * 15
    lane = np.full(total, seed, dtype=np.uint64)
    many = StepContext(lane, np.arange(total, dtype=np.uint64), lane, lane)
    budget = Budget(episodes, every)
    watched = budget.decide(many).watched
    assert watched.sum() == episodes
    assert np.all(watched.reshape(15, every).sum(axis=1) <= 1)
    assert np.all(watched <= Budget(episodes + 1, every).decide(many).watched)
    assert budget.cost(total) == total + 1000 * episodes


@settings(max_examples=20, deadline=None)
@given(seed=SEED, miss=PROBABILITY, alarm=PROBABILITY)
def test_a_noisy_flag_errs_as_often_as_it_says(seed: int, miss: float, alarm: float) -> None:
    many = context(seed, 4000)._replace(episode=np.arange(4000, dtype=np.uint64))
    truth = EpisodeCoin(0.5).decide(many).watched
    cue = NoisyFlag(miss, alarm).cue(truth, many, InformationLevel.EPISODE)
    for errs, chance in ((~cue[truth], miss), (cue[~truth], alarm)):
        assert near(errs.sum(), errs.size, chance)


def test_streams_are_independent_and_so_are_steps_and_episodes() -> None:
    many = context(0, 20_000)._replace(episode=np.arange(20_000, dtype=np.uint64))
    coins = [EpisodeCoin(0.5), EpisodeCoin(0.5, 1), StepCoin(0.5), StepCoin(0.5, 1)]
    falls = np.corrcoef([coin.decide(many).watched for coin in coins])
    assert np.abs(falls - np.eye(4)).max() < 5 / np.sqrt(20_000)


def test_a_schedule_switches_observers() -> None:
    first = Schedule(lambda episode: episode < 10)
    many = context(0, 500)
    late = many.episode >= 10
    watched = (first | StepCoin(0.1)).decide(many).watched
    assert watched[~late].all()
    np.testing.assert_array_equal(watched[late], StepCoin(0.1).decide(many).watched[late])


@pytest.mark.parametrize("name", OBSERVERS)
def test_an_observer_is_a_frozen_record(name: str) -> None:
    observer = OBSERVERS[name]
    assert pickle.loads(pickle.dumps(observer)) == observer
    with pytest.raises(FrozenInstanceError):
        observer.stream = 3  # type: ignore[attr-defined]


def test_a_composition_knows_what_its_parts_must() -> None:
    assert (EpisodeCoin(0.5) & Budget(3)).information_level == InformationLevel.EPISODE
    assert (EpisodeCoin(0.5) | StepCoin(0.5)).information_level == InformationLevel.STEP
    assert (~Region(positive) & StepCoin(0.5)).information_level == InformationLevel.OBSERVATION
    assert Noisy(Region(positive, at="arrival")).information_level == InformationLevel.ARRIVAL
