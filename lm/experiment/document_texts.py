"""Documents as texts to learn from, read off the mapped shards when they are asked for."""

from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lm.corpus import Kind
from lm.data.labelers import Labels
from lm.data.rows import document_row
from lm.data.shards import Shards
from lm.model.cross_entropy import IGNORED
from lm.task import StoryRows
from lm.training.routes import FORGET


@dataclass(frozen=True, eq=False)
class DocumentTexts:
    """Some of the documents, by number (`lm.task.Texts`)."""

    shards: Shards
    """of the documents"""
    labels: Labels
    """of all documents in them"""
    numbers: NDArray[np.int64]
    """of these documents"""
    context: int
    """tokens of a row; longer documents are cut"""

    @property
    def topics(self) -> Tensor:
        """The label of each document."""
        return torch.from_numpy(self.labels[self.numbers].astype(np.int64))

    @property
    def digest(self) -> str:
        """A checksum of the documents, and which of them these are."""
        own = f"{self.shards.digest} {self.context} ".encode()
        return sha256(own + self.numbers.tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, chosen: Tensor) -> "DocumentTexts":
        """Return some of the documents, by place or by truth value."""
        return replace(self, numbers=self.numbers[chosen.numpy()])

    def read(self) -> StoryRows:
        """Return the documents, one in a row.

        Tokens labelled forget are of the kind that is a topic's own, for methods with such labels.
        """
        tokens = np.empty((len(self), self.context + 1), np.int32)
        labels = np.empty((len(self), self.context), np.int8)
        for place, number in enumerate(self.numbers):
            tokens[place], labels[place] = document_row(self.shards, int(number), self.context)
        kinds = np.where(labels == FORGET, np.int16(Kind.NOUN), np.int16(Kind.FRAME))
        kinds[tokens[:, 1:] == IGNORED] = -1
        return StoryRows(
            tokens=torch.from_numpy(tokens),
            kinds=torch.from_numpy(kinds),
            facts=torch.full(kinds.shape, -1, dtype=torch.int32),
            topics=self.topics,
        )
