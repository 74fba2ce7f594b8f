"""Labels of spans of characters, carried over to tokens."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def overlaps(offsets: ArrayLike, spans: ArrayLike) -> NDArray[np.bool_]:
    """Return which tokens share a character with a labelled span.

    Args:
        offsets: Where tokens begin and end in the text, [T, 2], the end not included.
        spans: Where labelled spans do, [S, 2], in any order, and they may overlap.

    Raises:
        ValueError: If these are no such pairs, or one ends before it begins.
    """
    start, stop = _pairs("offsets", offsets)
    begin, end = _pairs("spans", spans)
    begin, end = begin[end > begin], end[end > begin]
    # Spans that began before the token's end, less those that had ended by its start.
    begun = np.searchsorted(np.sort(begin), stop, side="left")
    ended = np.searchsorted(np.sort(end), start, side="right")
    labelled: NDArray[np.bool_] = (begun > ended) & (stop > start)
    return labelled


def _pairs(name: str, values: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    pairs = np.asarray(values, np.int64).reshape(-1, 2) if np.size(values) == 0 else values
    pairs = np.asarray(pairs, np.int64)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or (pairs[:, 0] > pairs[:, 1]).any():
        raise ValueError(f"{name} must be pairs of a start and an end after it, got {values!r}")
    return pairs[:, 0], pairs[:, 1]
