"""The clock's tables of decisions equal asking the observer about every episode as it begins."""

import numpy as np
import pytest

from envs import EpisodeCoin, Noisy, Schedule, StepCoin, random_streams
from envs.observers import Decision, Observer, StepContext
from envs.wrappers.oversight_state import ROWS, OversightState

OBSERVERS: dict[str, Observer] = {
    "coin": EpisodeCoin(0.5),
    "noisy": Noisy(EpisodeCoin(0.5), miss=0.3, flip=0.4),
    "schedule": Schedule(lambda episode: 1 / (1 + episode / 50)),
    "step": StepCoin(0.5) | EpisodeCoin(0.2),
}


@pytest.mark.parametrize("name", OBSERVERS)
@pytest.mark.parametrize("lanes", [1, 3, ROWS, 2 * ROWS + 7])
def test_it_equals_asking_at_every_step(lanes: int, name: str) -> None:
    observer, generator = OBSERVERS[name], np.random.default_rng(lanes)
    clock = OversightState(observer, lanes, 5, flag="visible")
    seeds = random_streams.lane_seeds(11, lanes)
    one, choice = np.ones(1, dtype=np.uint64), np.array([5], dtype=np.uint64)
    seed = random_streams.split(random_streams.split(seeds, one), choice)
    episode, step, played = np.zeros((3, lanes), dtype=np.uint64)
    clock.restart(seeds, slice(None))
    for _ in range(200):
        clock.look()
        told: Decision = observer.decide(StepContext(seed, episode, step, played))
        np.testing.assert_array_equal(clock.watched, told.watched)
        np.testing.assert_array_equal(clock.cue, told.watched)
        clock.tick(slice(0))
        step += np.uint64(1)
        over = np.flatnonzero(generator.random(lanes) < 0.7)
        clock.begin(over)
        played[over] += step[over]
        step[over] = 0
        episode[over] += np.uint64(1)
    assert episode.max() > 2 * 64  # past several tables
