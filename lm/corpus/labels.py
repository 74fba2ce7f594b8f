"""Imperfect labels: some positives missed, some negatives labelled, by count and not by coin."""

import numpy as np
from numpy.typing import NDArray


def noisy_labels(
    truth: NDArray[np.bool_],
    *,
    recall: float,
    precision: float,
    rng: np.random.Generator,
    groups: NDArray[np.int64] | None = None,
) -> NDArray[np.bool_]:
    """Return labels of a given recall and precision, each exact to the nearest whole sample.

    With the same generator state, labels of less recall are a subset of those of more on the
    positives, so that a sweep over recall compares like with like.

    Args:
        truth: What a perfect labeller would say, [N].
        recall: Share of the positives that is labelled, in [0, 1].
        precision: Share of the labelled that is positive, in (0, 1].
        rng: Where the choice of mistakes comes from.
        groups: [N] Samples of one group are mistaken together: groups are gone through in random
            order until there are enough mistakes. None mistakes each sample on its own.

    Raises:
        ValueError: If a share is out of range, shapes differ, or negatives are too few.
    """
    truth = np.asarray(truth)
    _check(truth, recall, precision, groups)
    order = _order(len(truth), groups, rng)
    positives, negatives = order[truth[order]], order[~truth[order]]
    found = round(recall * len(positives))
    wrong = round(found * (1 - precision) / precision)
    if wrong > len(negatives):
        raise ValueError(
            f"a precision of {precision} needs {wrong} false labels, and there are "
            f"{len(negatives)} negatives; raise the precision or lower the recall"
        )
    labels = np.zeros_like(truth)
    # Missed positives are the last in order, false labels the first: both come in whole groups.
    labels[positives[:found]] = True
    labels[negatives[:wrong]] = True
    return labels


def _check(
    truth: NDArray[np.bool_], recall: float, precision: float, groups: NDArray[np.int64] | None
) -> None:
    if not 0 <= recall <= 1:
        raise ValueError(f"recall must be from 0 to 1, got {recall}")
    if not 0 < precision <= 1:
        raise ValueError(f"precision must be above 0 and at most 1, got {precision}")
    if truth.ndim != 1 or truth.dtype != np.bool_:
        raise ValueError(f"truth must be a row of booleans, got {truth.dtype} {truth.shape}")
    if groups is not None and np.shape(groups) != truth.shape:
        raise ValueError(
            f"groups must give one number for each of {len(truth)} samples, "
            f"got shape {np.shape(groups)}"
        )


def _order(
    count: int, groups: NDArray[np.int64] | None, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Shuffle samples, those of one group next to each other."""
    shuffled = rng.permutation(count)
    if groups is None:
        return shuffled
    names, group = np.unique(groups, return_inverse=True)
    rank = rng.permutation(len(names))[group]
    return shuffled[np.argsort(rank[shuffled], kind="stable")]
