"""The state of oversight equals asking the observer about every step of every lane."""

import numpy as np
import pytest

from envs import EpisodeCoin, Noisy, Schedule, StepCoin
from envs.observers import Decision, Observer, StepContext, random_streams
from envs.wrappers.oversight_state import OversightState

OBSERVERS: dict[str, Observer] = {
    "coin": EpisodeCoin(0.5),
    "noisy": Noisy(EpisodeCoin(0.5), miss=0.3, flip=0.4),
    "schedule": Schedule(lambda episode: 1 / (1 + episode / 50)),
    "step": StepCoin(0.5) | EpisodeCoin(0.2),
}


@pytest.mark.parametrize("name", OBSERVERS)
@pytest.mark.parametrize("lanes", [1, 7])
def test_state_equals_asking_the_observer_at_every_step(lanes: int, name: str) -> None:
    observer, generator = OBSERVERS[name], np.random.default_rng(lanes)
    state = OversightState(observer, lanes, 5, flag="visible")
    seeds = random_streams.lane_seeds(11, lanes)
    one, choice = np.ones(1, dtype=np.uint64), np.array([5], dtype=np.uint64)
    seed = random_streams.split(random_streams.split(seeds, one), choice)
    episode, step, played = np.zeros((3, lanes), dtype=np.uint64)
    state.restart(seeds, slice(None))
    for _ in range(200):
        state.look()
        decision: Decision = observer.decide(StepContext(seed, episode, step, played))
        np.testing.assert_array_equal(state.observed, decision.observed)
        np.testing.assert_array_equal(state.shown, decision.observed)
        state.advance(slice(0))
        step += np.uint64(1)
        over = np.flatnonzero(generator.random(lanes) < 0.7)
        state.begin(over)
        played[over] += step[over]
        step[over] = 0
        episode[over] += np.uint64(1)
    assert episode.max() > 100


def test_restored_state_decides_like_the_original() -> None:
    for observer in OBSERVERS.values():
        state, other = (OversightState(observer, 3, 5, flag="visible") for _ in range(2))
        state.restart(random_streams.lane_seeds(11, 3), slice(None))
        for lanes in ([0], [0, 2], [1]):
            state.advance(slice(0))
            state.begin(np.array(lanes))
        other.set_state(state.get_state())
        for each in (state, other):
            each.look()
        np.testing.assert_array_equal(state.observed, other.observed)
        assert (state.flips is None) == (other.flips is None)
        for name, array in state.get_state().items():
            np.testing.assert_array_equal(array, other.get_state()[name])
