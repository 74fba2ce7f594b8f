"""Observers of every kind, of which a test takes each, or composes some at random."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from envs import (
    Adversarial,
    Budget,
    EpisodeCoin,
    GaussianNoise,
    Noisy,
    Query,
    Region,
    Schedule,
    StepCoin,
    StepDecay,
)
from envs.observers import InformationLevel, Observer


def leftward(observation: NDArray[Any]) -> NDArray[np.bool_]:
    """A region of any numbers: the first of them is even."""
    first = observation.reshape(len(observation), -1)[:, 0]
    return (np.floor(first * 8) % 2 == 0).astype(np.bool_)  # type: ignore[no-any-return]


def guess(before: Any, action: Any, after: Any, ended: Any, cut: Any) -> Any:  # noqa: ANN401
    """A proxy that reads all that it is given."""
    moved = (after != before).reshape(len(ended), -1).any(axis=1)
    steep = np.asarray(action, dtype=float).reshape(len(ended), -1).sum(axis=1)
    return 0.25 * moved + steep + 2.0 * ended - 4.0 * cut


def rising(clock: NDArray[np.int64]) -> NDArray[np.float64]:
    """A schedule of any clock."""
    return np.minimum(clock / 40, 1.0)


OBSERVERS: dict[str, Observer] = {
    "EpisodeCoin": EpisodeCoin(0.5),
    "StepCoin": StepCoin(0.5),
    "StepDecay": StepDecay(0.97),
    "Schedule by episode": Schedule(rising),
    "Schedule by step": Schedule(rising, by="step"),
    "Budget": Budget(20, every=2),
    "Region at the start": Region(leftward),
    "Region at arrival": Region(leftward, at="arrival"),
    "Noisy": Noisy(EpisodeCoin(0.7), flip=0.3, miss=0.2),
    "Adversarial": Adversarial(EpisodeCoin(0.7), 20, every=2),
    "GaussianNoise": GaussianNoise(StepCoin(0.6), 3.0),
    "Query by rule": Query(0.25, leftward),
    "Query": Query(0.25),
    "composed": ~EpisodeCoin(0.3) & Noisy(StepCoin(0.8), flip=0.5, side="rewards") | Budget(3),
}

CHANCE = st.floats(0, 1)
STREAM = st.integers(0, 3)
COUNT = st.integers(1, 5)
SIDE = st.sampled_from(["both", "rewards", "punishments"])

LEAVES: st.SearchStrategy[Observer] = st.one_of(
    st.builds(EpisodeCoin, CHANCE, STREAM),
    st.builds(StepCoin, CHANCE, STREAM),
    st.builds(StepDecay, CHANCE, STREAM),
    st.builds(Budget, COUNT, COUNT, STREAM),
    st.sampled_from([Schedule(rising), Schedule(rising, by="step")]),
    st.sampled_from([Region(leftward), Region(leftward, at="arrival")]),
)


def composed(parts: st.SearchStrategy[Observer]) -> st.SearchStrategy[Observer]:
    """Build one observer of others."""
    countable = parts.filter(lambda part: part.information_level == InformationLevel.EPISODE)
    return st.one_of(
        st.builds(lambda part: ~part, parts),
        st.builds(lambda one, other: one & other, parts, parts),
        st.builds(lambda one, other: one | other, parts, parts),
        st.builds(Noisy, parts, CHANCE, CHANCE, SIDE, STREAM),
        st.builds(GaussianNoise, parts, st.floats(0, 9), STREAM),
        st.builds(Adversarial, countable, COUNT, COUNT, SIDE),
    )


COMPOSITIONS = st.recursive(LEAVES, composed, max_leaves=5)

QUERIES = st.sampled_from([None, Query(0.25, leftward), Query(0.5)])
