"""Texts with the route of each token, found when they are read."""

from dataclasses import dataclass
from hashlib import sha256

import torch
from torch import Tensor

from lm.labels import Unit, token_labels
from lm.task import Texts
from lm.training.batches import checksum
from lm.training.routes import FORGET, era_routes

TOGETHER = 4096
"""Texts that are read at once where all are."""


@dataclass(frozen=True, eq=False)
class Routed:
    """Texts, labels, and how these become routes (a `lm.training.batches.Source`).

    Raises:
        ValueError: if there is not one label for each text.
    """

    texts: Texts
    """in memory, or on a disk"""
    labels: Tensor
    """of the texts, [n]"""
    unit: Unit = "document"
    """what of a text labelled forget is routed so"""
    weights: Tensor | None = None
    """of each token of the vocabulary, where forget tokens are routed by weight, [v]"""

    def __post_init__(self) -> None:
        if self.labels.shape != self.texts.topics.shape:
            raise ValueError(
                f"labels of shape {tuple(self.labels.shape)} were given for {len(self)} texts: "
                "give each one label"
            )

    @property
    def digest(self) -> str:
        """A checksum of texts and routes."""
        own = f"{self.texts.digest} {checksum(self.labels)} {self.unit}"
        if self.weights is not None:
            own += f" {self.weights.tolist()}"
        return sha256(own.encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.texts)

    def read(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tokens and routes of some of the texts."""
        read = self.texts.take(rows).read()
        routes = token_labels(read, self.labels[rows], self.unit)
        if self.weights is not None:
            routes = era_routes(read.following, routes, self.weights)
        return read.tokens.long(), routes

    def counts(self, vocab_size: int) -> tuple[Tensor, Tensor]:
        """Return how often each token is predicted with label forget and without, [v] both.

        This reads all texts.
        """
        found = torch.zeros(2, vocab_size, dtype=torch.int64)
        for start in range(0, len(self), TOGETHER):
            rows = torch.arange(start, min(start + TOGETHER, len(self)))
            tokens, routes = self.read(rows)
            following = tokens[:, 1:]
            for place, chosen in enumerate((routes == FORGET, routes != FORGET)):
                real = following[chosen & (following >= 0)]
                found[place] += torch.bincount(real, minlength=vocab_size)
        return found[0], found[1]
