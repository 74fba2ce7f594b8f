"""Observers are pure, independent of neighboring lanes, and compose; invalid ones are refused."""

import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given, settings

from envs import (
    Adversarial,
    Budget,
    EpisodeCoin,
    GaussianNoise,
    Noisy,
    NoisyFlag,
    Query,
    Region,
    Schedule,
    StepCoin,
    StepDecay,
)
from envs.observers import Decision, InformationLevel, Observer, StepContext
from tests.envs.observers.contexts import SEED, make_context


def ramp(clock: np.ndarray) -> np.ndarray:
    return np.minimum(clock / 100, 1.0)


def positive(observation: np.ndarray) -> np.ndarray:
    return observation > 0


OBSERVERS: dict[str, Observer] = {
    "EpisodeCoin": EpisodeCoin(0.3),
    "StepCoin": StepCoin(0.3),
    "StepDecay": StepDecay(0.99),
    "Schedule by episode": Schedule(ramp),
    "Schedule by step": Schedule(ramp, by="step"),
    "Budget": Budget(40, every=5),
    "Region": Region(positive),
    "Noisy": Noisy(StepCoin(0.5), flip=0.2, miss=0.1),
    "GaussianNoise": GaussianNoise(StepCoin(0.5), 3.0) | StepCoin(0.3, stream=2),
    "Adversarial": Adversarial(EpisodeCoin(0.5), 20, every=5),
    "Query": Query(rule=positive),
    "both": EpisodeCoin(0.5) & StepCoin(0.5, stream=2),
    "either": ~EpisodeCoin(0.5) | Budget(10),
}


def arrays(decision: Decision) -> list[np.ndarray]:
    noise = [] if decision.noise is None else [decision.noise]
    return [decision.observed, *(decision.flips or ()), *noise]


@pytest.mark.parametrize("name", OBSERVERS)
@settings(max_examples=25, deadline=None)
@given(seed=SEED)
def test_a_lane_does_not_depend_on_its_neighbors(name: str, seed: int) -> None:
    observer, many = OBSERVERS[name], make_context(seed, 6)
    decided = observer.decide(many)
    for lane in range(6):
        one = StepContext._make(None if part is None else part[lane : lane + 1] for part in many)
        alone = observer.decide(one)
        assert [array[lane] for array in arrays(decided)] == [array[0] for array in arrays(alone)]


@pytest.mark.parametrize("name", OBSERVERS)
def test_observer_is_frozen_and_picklable(name: str) -> None:
    observer = OBSERVERS[name]
    assert pickle.loads(pickle.dumps(observer)) == observer
    with pytest.raises(FrozenInstanceError):
        observer.stream = 3  # type: ignore[attr-defined]


def test_composition_has_the_highest_level_of_its_parts() -> None:
    assert (EpisodeCoin(0.5) & Budget(3)).information_level == InformationLevel.EPISODE
    assert (EpisodeCoin(0.5) | StepCoin(0.5)).information_level == InformationLevel.STEP
    assert (~Region(positive) & StepCoin(0.5)).information_level == InformationLevel.OBSERVATION
    assert Noisy(Region(positive, at="arrival")).information_level == InformationLevel.ARRIVAL


BUILDERS: list[Callable[[], object]] = [
    lambda: EpisodeCoin(-0.1),
    lambda: StepCoin(2),
    lambda: EpisodeCoin(0.5, stream=-1),
    lambda: Budget(-1),
    lambda: Budget(1, every=0),
    lambda: Noisy(EpisodeCoin(0.5), miss=1.1),
    lambda: Noisy(0.5),  # type: ignore[arg-type]
    lambda: Noisy(EpisodeCoin(0.5), stream=-1),
    lambda: NoisyFlag(miss=1.1),
    lambda: NoisyFlag(false_alarm=np.nan),
    lambda: NoisyFlag(stream=0.5),  # type: ignore[arg-type]
    lambda: Region(3),  # type: ignore[arg-type]
    lambda: Region(np.isfinite, at="end"),  # type: ignore[arg-type]
    lambda: Schedule(lambda: 0.5),  # type: ignore[arg-type,misc]
    lambda: EpisodeCoin(0.5) & 0.5,  # type: ignore[operator]
]


@pytest.mark.parametrize("build", BUILDERS)
def test_invalid_observers_are_refused(build: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"must be .* got|must be a function|composes with"):
        build()
