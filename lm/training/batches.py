"""Batches as a pure function of the step, so that a resumed run reads what it would have read."""

from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from lm.models.language_model import IGNORED


class Batch(NamedTuple):
    """Tokens to read, tokens to predict and the route of each, [b, t] all three."""

    inputs: Tensor
    targets: Tensor
    route: Tensor


def counted(batch: Batch) -> Tensor:
    """Return how many tokens of a batch have a loss, 1 if none has: what a mean divides by."""
    return (batch.targets != IGNORED).sum().clamp(min=1)


def require_known(batch: Batch, vocab_size: int) -> None:
    """Refuse tokens that a vocabulary lacks; asked on the CPU, it waits for no device.

    Raises:
        ValueError: if there is one.
    """
    least, most = int(batch.inputs.min()), int(max(batch.inputs.max(), batch.targets.max()))
    if least < 0 or most >= vocab_size:
        raise ValueError(
            f"a batch has tokens from {least} to {most}, and the model a vocabulary of "
            f"{vocab_size}: train on text that was encoded by the model's own tokenizer"
        )


class Batches(Protocol):
    """Gives the batch of a step, the same whenever it is asked."""

    @property
    def digest(self) -> str:
        """What tells these batches from all others."""

    def __call__(self, step: int) -> Batch:
        """Return the batch of a step."""


class Source(Protocol):
    """Rows of tokens with routes, in memory or read when they are asked for."""

    @property
    def digest(self) -> str:
        """What tells these rows from all others."""

    def __len__(self) -> int:
        """Return how many there are."""

    def read(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return some of the rows by number: tokens, [b, context + 1], and routes, [b, context].

        Each row begins with the token before the first that is predicted; `IGNORED` fills short
        ones up.
        """


@dataclass(frozen=True, eq=False)
class InMemory:
    """Rows that are there.

    Raises:
        ValueError: if the routes do not fit.
    """

    tokens: Tensor
    """[rows, context + 1], of any integer type"""
    routes: Tensor
    """[rows, context]"""

    def __post_init__(self) -> None:
        if self.routes.shape != (self.tokens.shape[0], self.tokens.shape[1] - 1):
            raise ValueError(
                f"routes of shape {tuple(self.routes.shape)} were given for rows of shape "
                f"{tuple(self.tokens.shape)}: give each token but the first of a row one route"
            )

    @property
    def digest(self) -> str:
        """A checksum of tokens and routes."""
        return checksum(self.tokens, self.routes)

    def __len__(self) -> int:
        return len(self.tokens)

    def read(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tokens and routes of some of the rows."""
        return self.tokens[rows].long(), self.routes[rows].long()


class Rows:
    """Batches of rows drawn without replacement, in a new order each epoch.

    Args:
        source: of the rows.
        batch_size: rows of a batch; what is left of an epoch is dropped.
        seed: of the orders.

    Raises:
        ValueError: if there are fewer rows than a batch has.
    """

    def __init__(self, source: Source, batch_size: int, seed: int = 0) -> None:
        if not 1 <= batch_size <= len(source):
            raise ValueError(
                f"a batch of {batch_size} rows was asked of {len(source)}: give a batch_size "
                f"between 1 and {len(source)}"
            )
        self.source, self.batch_size, self.seed = source, batch_size, seed
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

    @property
    def digest(self) -> str:
        """A checksum of rows, routes, and what their order depends on."""
        told = f"{self.source.digest} {len(self.source)} {self.batch_size} {self.seed}"
        return sha256(told.encode()).hexdigest()

    def __call__(self, step: int) -> Batch:
        """Return the batch of a step."""
        epoch, place = divmod(step, len(self.source) // self.batch_size)
        if epoch != self._epoch:
            # a large odd factor keeps the epochs of neighboring seeds apart
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._epoch, self._order = epoch, torch.randperm(len(self.source), generator=generator)
        start = place * self.batch_size
        tokens, routes = self.source.read(self._order[start : start + self.batch_size])
        filled = (tokens[:, 1:] != IGNORED).any(0).nonzero()
        end = int(filled[-1]) + 1 if len(filled) else 1  # what fills up all rows is not read
        inputs, targets = tokens[:, :end].clamp(min=0), tokens[:, 1 : end + 1]
        return Batch(inputs, targets, routes[:, :end])


def checksum(*parts: Tensor) -> str:
    """Return a checksum of tensors of integers, by shape and content."""
    found = sha256(repr([tuple(part.shape) for part in parts]).encode())
    for part in parts:
        found.update(part.long().numpy().tobytes())
    return found.hexdigest()
