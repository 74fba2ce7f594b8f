"""Noisy labels: exact shares, nested sweeps, mistakes in groups."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm.corpus import noisy_labels

RNG = np.random.default_rng


@given(
    seed=st.integers(0, 2**32),
    positives=st.integers(0, 60),
    recall=st.floats(0, 1),
    precision=st.floats(0.5, 1),
    groups=st.one_of(st.none(), st.integers(1, 9)),
)
def test_recall_and_precision_are_exact_to_a_sample(
    seed: int, positives: int, recall: float, precision: float, groups: int | None
) -> None:
    truth = RNG(seed).permutation(np.arange(120) < positives)
    group = None if groups is None else RNG(seed).integers(groups, size=120)
    before = truth.copy()
    labels = noisy_labels(truth, recall=recall, precision=precision, rng=RNG(seed), groups=group)
    found, labeled = int((labels & truth).sum()), int(labels.sum())
    assert abs(found - recall * positives) <= 0.5
    assert abs(labeled - found - found * (1 - precision) / precision) <= 0.5
    assert (truth == before).all()
    if recall == precision == 1:
        assert (labels == truth).all()
    again = noisy_labels(truth, recall=recall, precision=precision, rng=RNG(seed), groups=group)
    assert (labels == again).all()


@given(seed=st.integers(0, 99), low=st.floats(0, 1), high=st.floats(0, 1))
def test_less_recall_labels_a_subset(seed: int, low: float, high: float) -> None:
    truth = np.arange(50) % 3 == 0
    less, more = (
        noisy_labels(truth, recall=recall, precision=1, rng=RNG(seed))
        for recall in sorted((low, high))
    )
    assert (less <= more).all()


def test_every_sample_is_as_likely_to_be_mistaken() -> None:
    truth = np.arange(10) < 5
    counts = sum(
        noisy_labels(truth, recall=0.6, precision=0.75, rng=RNG(seed)).astype(int)
        for seed in range(2000)
    )
    expected = np.where(truth, 1200, 400)  # 3 of 5 found, 1 of 5 wrong
    assert (np.abs(counts - expected) < 5 * 22).all()


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_mistaken_as_wholes_but_for_one(seed: int) -> None:
    truth = np.arange(80) < 40
    groups = np.arange(80) // 10 % 8
    labels = noisy_labels(truth, recall=0.6, precision=0.6, rng=RNG(seed), groups=groups)
    shares = np.array([labels[groups == group].mean() for group in range(8)])
    found, wrong = shares[:4], shares[4:]
    assert ((found > 0) & (found < 1)).sum() <= 1
    assert ((wrong > 0) & (wrong < 1)).sum() <= 1
    assert np.isclose(found.sum(), 2.4)
    assert np.isclose(wrong.sum(), 1.6)


def test_any_group_may_be_the_one_that_is_missed() -> None:
    truth, groups = np.ones(12, bool), np.arange(12) // 3
    missed = {
        tuple(groups[~noisy_labels(truth, recall=0.75, precision=1, rng=RNG(s), groups=groups)])
        for s in range(40)
    }
    assert missed == {(0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 3)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"recall": 1.1}, "recall must be from 0 to 1, got 1.1"),
        ({"recall": -0.1}, "recall must be from 0 to 1"),
        ({"recall": float("nan")}, "recall must be from 0 to 1"),
        ({"precision": 0.0}, "precision must be above 0 and at most 1"),
        ({"precision": 1.5}, "precision must be above 0 and at most 1"),
        ({"precision": 0.1}, "needs 27 false labels, and there are 7 negatives"),
        ({"truth": np.ones(3)}, "a row of booleans, got float64"),
        ({"groups": np.zeros(11, int)}, "one number for each of 10 samples"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    given_arguments = {"truth": np.arange(10) < 3, "recall": 1.0, "precision": 1.0, "rng": RNG(0)}
    with pytest.raises(ValueError, match=message):
        noisy_labels(**(given_arguments | arguments))  # type: ignore[arg-type]
