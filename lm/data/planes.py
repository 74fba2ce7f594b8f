"""Labels as bitmaps: a plane of bits for `UNLABELLED` and one for `FORGET`, 0 in both is retain."""

import numpy as np
from numpy.typing import NDArray

from lm.data.labelers import Labels
from lm.training.routes import FORGET, UNLABELLED

PLANES = (UNLABELLED, FORGET)
"""The label of each plane."""


def pack(labels: Labels) -> NDArray[np.uint8]:
    """Return labels as bitmaps, [2, n / 8 rounded up].

    >>> pack(np.array([2, 0, 1, 0, 0, 0, 0, 0, 2], np.uint8)).tolist()
    [[4, 0], [1, 1]]
    """
    planes = [np.packbits(labels == label, bitorder="little") for label in PLANES]
    return np.stack(planes)


def unpack(planes: NDArray[np.uint8], start: int, stop: int) -> Labels:
    """Return the labels from start to stop out of their bitmaps.

    >>> unpack(np.array([[4, 0], [1, 1]], np.uint8), 2, 9).tolist()
    [1, 0, 0, 0, 0, 0, 2]
    """
    first = start // 8
    part = np.asarray(planes[:, first : -(-stop // 8)])
    bits = np.unpackbits(part, axis=1, bitorder="little")[:, start - 8 * first : stop - 8 * first]
    labels: Labels = (bits * np.array(PLANES, np.uint8)[:, None]).sum(0, dtype=np.uint8)
    return labels
