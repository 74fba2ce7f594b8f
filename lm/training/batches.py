"""Batches as a pure function of the step, so that a resumed run reads the same batches."""

from hashlib import sha256
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from lm.models.language_model import IGNORED


class Batch(NamedTuple):
    """Tokens to read, tokens to predict and their routes, [b, t] each."""

    inputs: Tensor
    targets: Tensor
    route: Tensor

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device; the host need not wait for the copy."""
        return Batch(*(part.to(device, non_blocking=True) for part in self))


def count_targets(batch: Batch) -> Tensor:
    """Return the number of targets with a loss, at least 1: the divisor of a mean loss."""
    return (batch.targets != IGNORED).sum().clamp(min=1)


def require_in_vocabulary(batch: Batch, vocab_size: int) -> None:
    """Refuse tokens outside of a vocabulary. On the CPU this waits for no device.

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
    """Maps a step to its batch, the same whenever it is called."""

    @property
    def digest(self) -> str:
        """Content hash of the batch sequence."""

    def __call__(self, step: int) -> Batch:
        """Return the batch of a step."""


class Source(Protocol):
    """Rows of tokens with routes, in memory or read on demand."""

    @property
    def digest(self) -> str:
        """Content hash of the rows."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def read(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tokens, [b, context + 1], and routes, [b, context], of some rows.

        A row begins with the token before its first target, and is padded with `IGNORED`.
        """


class Rows:
    """Batches of rows drawn without replacement, in a new order each epoch.

    Args:
        source: the source of the rows.
        batch_size: rows per batch; an incomplete last batch of an epoch is dropped.
        seed: seed of the order of the rows in each epoch.

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
        """Content hash of the rows, their routes and their order."""
        identity = f"{self.source.digest} {len(self.source)} {self.batch_size} {self.seed}"
        return sha256(identity.encode()).hexdigest()

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
        end = int(filled[-1]) + 1 if len(filled) else 1  # columns of padding only are cut
        inputs, targets = tokens[:, :end].clamp(min=0), tokens[:, 1 : end + 1]
        return Batch(inputs, targets, routes[:, :end])


def checksum(*parts: Tensor) -> str:
    """Return a checksum of tensors of integers, by shape and content."""
    found = sha256(repr([tuple(part.shape) for part in parts]).encode())
    for part in parts:
        found.update(part.long().numpy().tobytes())
    return found.hexdigest()
