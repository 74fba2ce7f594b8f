"""Batches of rows over shards, read from disk as they are needed; labels are the routes.

Each row begins with the token before its first, the end of a document where that is none. Rows
come without replacement, in a new random order each epoch.
"""

from hashlib import sha256
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from lm.data.labelers import Labels
from lm.data.order import shuffled
from lm.data.shards import Shards
from lm.data.vocabulary import Ids
from lm.model.cross_entropy import IGNORED
from lm.training.batches import Batch
from lm.training.routes import RETAIN

Layout = Literal["documents", "packed"]
"""documents: one in a row, cut at the context; packed: all in a sequence, cut into full rows.

In a packed row documents read those before them, and the last tokens of a shard that fill no row
are not read.
"""

Row = tuple[Ids, NDArray[np.int64]]
"""Tokens, [context + 1], filled up with `IGNORED`, and the labels of all but the first."""


class ShardRows:
    """The batch of any step, the same whenever it is asked.

    Args:
        shards: the documents.
        batch_size: rows of a batch; what is left of an epoch is dropped.
        context: tokens of a row that are predicted.
        layout: what a row holds.
        seed: of the orders.

    Raises:
        ValueError: if the context is below 1, or there are fewer rows than a batch has.
    """

    def __init__(
        self,
        shards: Shards,
        batch_size: int,
        context: int,
        layout: Layout = "documents",
        seed: int = 0,
    ) -> None:
        if context < 1:
            raise ValueError(f"rows of {context} tokens were asked for: give 1 or more")
        self.shards, self.batch_size, self.context = shards, batch_size, context
        self.layout, self.seed = layout, seed
        self._firsts = shards.firsts if layout == "documents" else self._packed_firsts()
        if not 1 <= batch_size <= len(self):
            raise ValueError(
                f"a batch of {batch_size} rows was asked of {len(self)}: give a batch_size "
                f"between 1 and {len(self)}, or prepare more documents"
            )

    def __len__(self) -> int:
        """Return the number of rows of an epoch."""
        return int(self._firsts[-1])

    @property
    def digest(self) -> str:
        """A checksum of shards, layout, and what the order depends on."""
        own = (self.shards.digest, self.layout, self.context, self.batch_size, self.seed)
        return sha256(repr(own).encode()).hexdigest()

    def __call__(self, step: int) -> Batch:
        """Return the batch of a step."""
        epoch, place = divmod(step, len(self) // self.batch_size)
        places = place * self.batch_size + np.arange(self.batch_size)
        order = shuffled(places, len(self), [self.seed, epoch])
        read = [self.row(int(number)) for number in order]
        tokens, routes = (torch.from_numpy(np.stack(part)) for part in zip(*read, strict=True))
        end = int((tokens[:, 1:] != IGNORED).any(0).sum())  # what fills up all rows is not read
        now, following = tokens[:, :end].clamp(min=0), tokens[:, 1 : end + 1]
        return Batch(now, following, routes[:, :end])

    def row(self, number: int) -> Row:
        """Return a row by number."""
        if self.layout == "documents":
            return document_row(self.shards, number, self.context)
        place = int(np.searchsorted(self._firsts, number, side="right")) - 1
        mapped = self.shards.mapped[place]
        start = (number - int(self._firsts[place])) * self.context
        stop = start + self.context
        before = mapped.tokens[start - 1] if start else self.shards.manifest.vocabulary.end
        labels = mapped.labels(start, stop)
        return _row(int(before), mapped.tokens[start:stop], labels, self.context)

    def _packed_firsts(self) -> NDArray[np.int64]:
        """Return the number of each shard's first row, and of all rows."""
        return np.cumsum([0, *(len(each.tokens) // self.context for each in self.shards.mapped)])


def document_row(shards: Shards, number: int, context: int) -> Row:
    """Return a document as a row, cut at the context."""
    tokens, labels = shards.document(number)
    return _row(shards.manifest.vocabulary.end, tokens[:context], labels[:context], context)


def _row(before: int, tokens: NDArray[np.integer], labels: Labels, context: int) -> Row:
    row = np.full(context + 1, IGNORED, np.int64)
    row[0], row[1 : len(tokens) + 1] = before, tokens
    routes = np.full(context, RETAIN, np.int64)
    routes[: len(labels)] = labels
    return row, routes
