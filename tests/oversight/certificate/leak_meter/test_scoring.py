"""Held-out prediction: its tasks, its scores against slow references, and its features."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from oversight.certificate.leak_meter import scoring
from oversight.certificate.leak_meter.scoring import (
    PredictionTask,
    Scorer,
    make_task,
    predict,
    shuffle,
    weighted_auc,
    weighted_rank_correlation,
)

N = 200
EPISODE = np.repeat(np.arange(100), 2)
RANDOM = np.random.default_rng(0)
BINARY = RANDOM.integers(0, 2, N).astype(np.float64)


def task_of(truth: np.ndarray) -> PredictionTask:
    task = make_task(truth, EPISODE, 0)
    assert isinstance(task, PredictionTask)
    return task


def test_weighted_auc_equals_that_of_scikit_learn_also_with_ties() -> None:
    scores, positive = RANDOM.integers(0, 9, 50).astype(np.float64), RANDOM.random(50) < 0.4
    weights = RANDOM.integers(0, 4, (5, 50)).astype(np.float64)
    expected = [roc_auc_score(positive, scores, sample_weight=row) for row in weights]
    assert weighted_auc(scores, positive, weights) == pytest.approx(expected, abs=1e-12)


def test_weighted_auc_is_nan_where_a_class_has_no_weight() -> None:
    positive = np.array([True, False])
    assert np.isnan(weighted_auc(np.arange(2.0), positive, positive[None] * 1.0))[0]


def test_weighted_rank_correlation_equals_that_of_repeated_ranks() -> None:
    one, other = RANDOM.integers(0, 9, 50).astype(np.float64), RANDOM.standard_normal(50)
    counts = RANDOM.integers(0, 4, 50)
    weights = np.stack([np.ones(50), counts.astype(np.float64)])
    found = weighted_rank_correlation(one, other, weights)
    assert found[0] == pytest.approx(stats.spearmanr(one, other)[0])
    ranks = np.stack([stats.rankdata(one), stats.rankdata(other)])
    assert found[1] == pytest.approx(np.corrcoef(np.repeat(ranks, counts, axis=1))[0, 1])


def test_rank_correlation_with_a_constant_is_chance() -> None:
    assert weighted_rank_correlation(np.ones(9), np.arange(9.0), np.ones((1, 9)))[0] == 0.0


@pytest.mark.parametrize(
    ("truth", "reason"),
    [
        (np.ones(N), "all of them are 1, so that there is nothing to leak"),
        (np.arange(N) < 10.0, "only 5 episodes have another one than 0, and 30 with one"),
    ],
)
def test_task_is_refused_with_the_reason(truth: np.ndarray, reason: str) -> None:
    task = make_task(truth * 1.0, EPISODE, 0)
    assert isinstance(task, str)
    assert task.startswith(reason)


def test_task_needs_enough_episodes() -> None:
    task = make_task(BINARY[:118], EPISODE[:118], 0)
    assert task == "there are 59 episodes, and 60 are needed: play more"


@pytest.mark.parametrize("truth", [BINARY, RANDOM.standard_normal(N)], ids=["classes", "numbers"])
def test_halves_share_no_episode_and_have_all_values(truth: np.ndarray) -> None:
    task = task_of(truth)
    halves = [set(task.episode[mask]) for mask in (task.fitted, ~task.fitted)]
    assert not halves[0] & halves[1]
    assert len(halves[0] | halves[1]) == 100
    means = [task.target[mask].mean() for mask in (task.fitted, ~task.fitted)]
    assert means[0] == pytest.approx(means[1], abs=0.3)


def test_few_values_are_classified_and_rare_ones_are_left_out() -> None:
    truth = np.concatenate([[7.0, 7.0], BINARY[2:]])
    task = task_of(truth)
    assert (task.num_classes, task.values, task.measure) == (2, "0 or 1", "AUC")
    assert task.kept.tolist() == list(range(2, N))
    numbers = task_of(RANDOM.standard_normal(N))
    assert (numbers.num_classes, numbers.measure, numbers.chance) == (0, "rank correlation", 0.0)


@pytest.mark.parametrize("truth", [BINARY, RANDOM.standard_normal(N)], ids=["classes", "numbers"])
def test_copy_of_the_truth_scores_highest_and_noise_at_chance(truth: np.ndarray) -> None:
    task = task_of(truth)
    scorer = Scorer(task, 10, 0)
    best = scorer.score(predict(task, truth[:, None]))
    assert best.low > 0.9
    noise = scorer.score(predict(task, RANDOM.standard_normal((N, 2))))
    assert noise.low < task.chance < noise.high
    hidden = shuffle(task, 0)
    shuffled = Scorer(hidden, 10, 0).score(predict(hidden, truth[:, None]))
    assert shuffled.low < task.chance < shuffled.high


def test_interval_of_a_score_covers_its_value_in_almost_all_samples() -> None:
    covered = []
    for seed in range(40):
        random = np.random.default_rng([seed, 1])
        truth = random.integers(0, 2, N).astype(np.float64)
        task = make_task(truth, EPISODE, seed)
        assert isinstance(task, PredictionTask)
        cases = truth[~task.fitted]
        one_sided = random.standard_normal(cases.size) + cases  # AUC: P(N(1, 2) > 0) = 0.760
        score = Scorer(task, 1, seed).score(np.stack([-one_sided, one_sided], axis=1))
        covered.append(score.low < stats.norm.cdf(1 / np.sqrt(2)) < score.high)
    assert sum(covered) >= 38


def test_feature_that_tells_is_found_among_many_that_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scoring, "MAX_FEATURES", 3)
    features = RANDOM.standard_normal((N, 40))
    features[:, 17] = BINARY
    task = task_of(BINARY)
    assert Scorer(task, 1, 0).score(predict(task, features)).value == 1.0


def test_missing_and_infinite_features_are_read_and_constant_ones_tell_nothing() -> None:
    task = task_of(BINARY)
    scorer = Scorer(task, 1, 0)
    for other in (np.nan, np.inf):
        feature = np.where(BINARY == 1, 0.0, other)[:, None]
        assert scorer.score(predict(task, feature)).value == 1.0
    assert scorer.score(predict(task, np.ones((N, 3)))) == (0.5, 0.5, 0.5)
    assert scorer.score(predict(task, np.empty((N, 0)))) == (0.5, 0.5, 0.5)
