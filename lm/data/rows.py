"""Documents as rows of one length, read from the mapped shards; labels are the routes."""

import numpy as np
from numpy.typing import NDArray

from lm.data.shards import Shards
from lm.data.vocabulary import Ids
from lm.model.cross_entropy import IGNORED
from lm.training.routes import RETAIN

Row = tuple[Ids, NDArray[np.int64]]
"""Tokens, [context + 1], filled up with `IGNORED`, and the labels of all but the first."""


def document_row(shards: Shards, number: int, context: int) -> Row:
    """Return a document as a row, cut at the context, after the token that ends a document."""
    tokens, labels = (part[:context] for part in shards.document(number))
    row = np.full(context + 1, IGNORED, np.int64)
    row[0], row[1 : len(tokens) + 1] = shards.manifest.vocabulary.end, tokens
    routes = np.full(context, RETAIN, np.int64)
    routes[: len(labels)] = labels
    return row, routes
