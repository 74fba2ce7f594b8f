"""How well features predict a truth in held-out episodes, with intervals over episodes.

The predictor is scikit-learn's gradient boosting. It is fitted to one half of the episodes, and
predicts the other half. A truth of few distinct values is classified, and scored by the AUC, one
value against the rest; any other is regressed, and scored by the rank correlation.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

MAX_CLASSES = 10
"""Truths of more distinct values are regressed."""
MIN_EPISODES = 30
"""Values that occur in fewer episodes are left out, since half of them say too little."""
MAX_FEATURES = 256
"""Of more features, those that vary most with the truth in the fitted half are used."""
ITERATIONS = 60
"""Trees of the predictor, for each class."""
RESAMPLES = 400
LEVEL = 0.99
"""Confidence that all intervals of a report contain what they estimate."""


class PredictionTask(NamedTuple):
    """What is to be predicted, for which cases, and how they are split.

    Attributes:
        kept: the cases, [n].
        target: class of each case, or its truth, [n].
        episode: number of the episode of each case, [n].
        fitted: whether the predictor is fitted to it, [n]; the others are held out.
        num_classes: number of classes; 0 where the truth is regressed.
        values: the hidden values, in a few words.
    """

    kept: NDArray[np.intp]
    target: Vector
    episode: NDArray[np.intp]
    fitted: NDArray[np.bool_]
    num_classes: int
    values: str

    @property
    def measure(self) -> str:
        """The name of the score."""
        return "AUC" if self.num_classes else "rank correlation"

    @property
    def chance(self) -> float:
        """The score of a predictor that knows nothing."""
        return 0.5 if self.num_classes else 0.0


class Score(NamedTuple):
    """A score on held-out episodes, and its interval."""

    value: float
    low: float
    high: float


def make_task(truth: Vector, episode: NDArray[np.intp], seed: int) -> PredictionTask | str:
    """Return the task of predicting a truth, or the reason why there is none.

    Args:
        truth: of each case, [n].
        episode: number of the episode of each case, [n]; an episode is never split.
        seed: of the split.
    """
    count = np.unique(episode).size
    if count < 2 * MIN_EPISODES:
        return f"there are {count} episodes, and {2 * MIN_EPISODES} are needed: play more"
    values, codes = np.unique(truth, return_inverse=True)
    if values.size == 1:
        return f"all of them are {values[0]:g}, so that there is nothing to leak"
    if values.size > MAX_CLASSES:
        kept = np.arange(truth.size)
        ranks = stats.rankdata(truth, "min")
        strata = (4 * ranks / (truth.size + 1)).astype(np.intp)
        words = f"{values.size:,} values from {values[0]:g} to {values[-1]:g}"
        return PredictionTask(kept, truth, episode, _split(strata, episode, seed), 0, words)
    spread = [np.unique(episode[codes == code]).size for code in range(values.size)]
    frequent = np.flatnonzero(np.array(spread) >= MIN_EPISODES)
    if frequent.size < 2:
        common = values[int(np.argmax(spread))]
        rest = np.unique(episode[truth != common]).size
        return (
            f"only {rest} episodes have another one than {common:g}, and {MIN_EPISODES} with one "
            "of them are needed: play more"
        )
    kept = np.flatnonzero(np.isin(codes, frequent))
    target = np.searchsorted(frequent, codes[kept])
    words = " or ".join(f"{values[code]:g}" for code in frequent)
    fitted = _split(target, episode[kept], seed)
    return PredictionTask(
        kept, target.astype(np.float64), episode[kept], fitted, frequent.size, words
    )


def _split(strata: NDArray[np.intp], episode: NDArray[np.intp], seed: int) -> NDArray[np.bool_]:
    """Return one half of the episodes as a mask of cases, with all strata in both halves."""
    from sklearn.model_selection import StratifiedGroupKFold  # noqa: PLC0415 (slow to import)

    halves = StratifiedGroupKFold(2, shuffle=True, random_state=seed)
    fitted = np.zeros(strata.size, dtype=np.bool_)
    fitted[next(halves.split(strata, strata, episode))[0]] = True
    return fitted


def shuffle(task: PredictionTask, seed: int) -> PredictionTask:
    """Return the task with truths shuffled within both halves, which no feature can predict."""
    generator = np.random.default_rng(seed)
    target = task.target.copy()
    for half in (task.fitted, ~task.fitted):
        target[half] = generator.permutation(target[half])
    return task._replace(target=target)


def predict(task: PredictionTask, features: Matrix) -> Matrix:
    """Return predictions of the held-out cases, [cases, classes] or [cases, 1].

    Args:
        task: what is predicted.
        features: of all cases, [n, features].
    """
    from sklearn.ensemble import (  # noqa: PLC0415 (slow to import)
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
    )

    given = features[task.kept].clip(-1e30, 1e30)  # NaN stays, and counts as missing
    fitted, target = task.fitted, task.target[task.fitted]
    columns = _choose_features(given[fitted], target, bool(task.num_classes))
    if not columns.size:
        return np.zeros((int((~fitted).sum()), max(1, task.num_classes)))
    settings = {"max_iter": ITERATIONS, "min_samples_leaf": 5, "early_stopping": False}
    kind = HistGradientBoostingClassifier if task.num_classes else HistGradientBoostingRegressor
    model = kind(**settings, random_state=0).fit(given[fitted][:, columns], target)
    unseen = given[~fitted][:, columns]
    if task.num_classes:
        return np.asarray(model.predict_proba(unseen), np.float64)
    return np.asarray(model.predict(unseen), np.float64)[:, None]


def _choose_features(features: Matrix, target: Vector, classes: bool) -> NDArray[np.intp]:
    """Return the features that vary, and of too many those that vary most with the target."""
    from sklearn.feature_selection import f_classif, f_regression  # noqa: PLC0415

    missing = np.isnan(features)
    filled = np.where(missing, 0.0, features)
    varies = (filled != filled[:1]).any(axis=0) | (missing != missing[:1]).any(axis=0)
    columns = np.flatnonzero(varies)
    if columns.size <= MAX_FEATURES:
        return columns
    # an infinite statistic, of a feature that separates the classes, is the largest
    with np.errstate(divide="ignore", invalid="ignore"):
        test = f_classif if classes else f_regression
        statistic = np.nan_to_num(test(filled[:, columns], target)[0], posinf=1e300)
    best = np.argsort(-statistic, kind="stable")[:MAX_FEATURES]
    return columns[np.sort(best)]


class Scorer:
    """Scores predictions of the held-out cases of a task, and resamples their episodes.

    Args:
        task: what is predicted.
        rows: number of intervals in the report, which share the confidence.
        seed: of the resamples.
    """

    def __init__(self, task: PredictionTask, rows: int, seed: int) -> None:
        self.task = task
        self.target = task.target[~task.fitted]
        _, episode = np.unique(task.episode[~task.fitted], return_inverse=True)
        count = int(episode.max()) + 1
        # a rare value has few episodes, by which the deviation of its score is known
        classes = range(task.num_classes)
        fewest = min((np.unique(episode[self.target == k]).size for k in classes), default=count)
        self.deviations = float(stats.t.isf((1 - LEVEL) / 2 / rows, fewest - 1))
        generator = np.random.default_rng(seed)
        drawn = generator.multinomial(count, np.full(count, 1 / count), RESAMPLES)
        self.weights = np.concatenate([np.ones((1, count)), drawn])[:, episode]

    def score(self, predictions: Matrix) -> Score:
        """Return the score of some predictions."""
        low, high = (0.0, 1.0) if self.task.num_classes else (-1.0, 1.0)
        return self._interval(self._scores(predictions), low, high)

    def difference(self, one: Matrix, other: Matrix) -> Score:
        """Return the score of some predictions minus that of others."""
        return self._interval(self._scores(one) - self._scores(other), -2.0, 2.0)

    def _scores(self, predictions: Matrix) -> Vector:
        """Return the score of the cases, and of each resample, [1 + resamples]."""
        if not self.task.num_classes:
            return weighted_rank_correlation(predictions[:, 0], self.target, self.weights)
        classes = range(self.task.num_classes)
        each = [weighted_auc(predictions[:, k], self.target == k, self.weights) for k in classes]
        return np.asarray(np.mean(each, axis=0))

    def _interval(self, scores: Vector, low: float, high: float) -> Score:
        """Return the first score, with an interval of t by the deviation of the others."""
        reach = self.deviations * float(np.nanstd(scores[1:]))
        value = float(scores[0])
        return Score(value, max(low, value - reach), min(high, value + reach))


def weighted_auc(scores: Vector, positive: NDArray[np.bool_], weights: Matrix) -> Vector:
    """Return the area under the ROC curve for each row of weights, [rows]; ties count half.

    Args:
        scores: of the cases, [n].
        positive: the class of the cases, [n].
        weights: of the cases, [rows, n]; NaN is returned where a class has no weight.
    """
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    ups = np.add.reduceat(weights[:, order] * positive[order], starts, axis=1)
    downs = np.add.reduceat(weights[:, order] * ~positive[order], starts, axis=1)
    below = np.cumsum(downs, axis=1) - downs
    with np.errstate(invalid="ignore"):
        area = ((below + downs / 2) * ups).sum(axis=1) / (ups.sum(axis=1) * downs.sum(axis=1))
    return np.asarray(area)


def weighted_rank_correlation(one: Vector, other: Vector, weights: Matrix) -> Vector:
    """Return the correlation of ranks for each row of weights, [rows]; 0 where one is constant.

    Ranks are those of all cases.
    """
    total = weights.sum(axis=1)
    ranks = [stats.rankdata(each) for each in (one, other)]
    means = [weights @ each / total for each in ranks]
    squares = [weights @ each**2 / total - mean**2 for each, mean in zip(ranks, means, strict=True)]
    product = weights @ (ranks[0] * ranks[1]) / total - means[0] * means[1]
    scale = np.sqrt(np.clip(squares[0], 0, None) * np.clip(squares[1], 0, None))
    tiny = 1e-9 * one.size**2  # of rounding
    return np.asarray(np.where(scale > tiny, product / np.where(scale > tiny, scale, 1.0), 0.0))
