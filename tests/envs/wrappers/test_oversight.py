"""Oversight equals asking the observer about every step of every lane."""

import numpy as np
import pytest

from envs import EpisodeCoin, GaussianNoise, Noisy, Schedule, StepCoin, StepDecay
from envs.observers import Decision, Observer, StepContext, random_streams
from envs.wrappers.oversight import Oversight
from tests.envs.wrappers.environment_factories import frozen

OBSERVERS: dict[str, Observer] = {
    "coin": EpisodeCoin(0.5),
    "noisy": Noisy(EpisodeCoin(0.5), miss=0.3, flip=0.4),
    "schedule": Schedule(lambda episode: 1 / (1 + episode / 50)),
    "step": StepCoin(0.5) | EpisodeCoin(0.2),
    "decay": StepDecay(0.98),
    "Gaussian": GaussianNoise(EpisodeCoin(0.5), 3.0),
}


def make_oversight(lanes: int, observer: Observer) -> Oversight:
    return Oversight(
        lanes,
        observed_probability=None,
        observer=observer,
        proxy=None,
        reward="observed",
        flag="visible",
        allow=(),
        seed=5,
    )


@pytest.mark.parametrize("name", OBSERVERS)
@pytest.mark.parametrize("lanes", [1, 7])
def test_oversight_equals_asking_the_observer_at_every_step(lanes: int, name: str) -> None:
    observer, generator = OBSERVERS[name], np.random.default_rng(lanes)
    oversight = make_oversight(lanes, observer)
    seeds = random_streams.lane_seeds(11, lanes)
    one, choice = np.ones(1, dtype=np.uint64), np.array([5], dtype=np.uint64)
    seed = random_streams.split(random_streams.split(seeds, one), choice)
    episode, step, played = np.zeros((3, lanes), dtype=np.uint64)
    oversight.reset(11, slice(None))
    for _ in range(200):
        oversight.look()
        decision: Decision = observer.decide(StepContext(seed, episode, step, played))
        np.testing.assert_array_equal(oversight.observed, decision.observed)
        np.testing.assert_array_equal(oversight.shown, decision.observed)
        assert frozen(oversight.noise) == frozen(decision.noise)
        oversight.advance(np.zeros(lanes, dtype=np.bool_))
        step += np.uint64(1)
        over = np.flatnonzero(generator.random(lanes) < 0.7)
        oversight.begin(over)
        played[over] += step[over]
        step[over] = 0
        episode[over] += np.uint64(1)
    assert episode.max() > 100


def test_restored_state_decides_like_the_original() -> None:
    for observer in OBSERVERS.values():
        oversight, other = (make_oversight(3, observer) for _ in range(2))
        oversight.reset(11, slice(None))
        for lanes in ([0], [0, 2], [1]):
            oversight.advance(np.zeros(3, dtype=np.bool_))
            oversight.begin(np.array(lanes))
        other.set_state(oversight.get_state())
        for each in (oversight, other):
            each.look()
        np.testing.assert_array_equal(oversight.observed, other.observed)
        assert (oversight.flips is None) == (other.flips is None)
        assert frozen(oversight.noise) == frozen(other.noise)
        for name, array in oversight.get_state().items():
            np.testing.assert_array_equal(array, other.get_state()[name])
