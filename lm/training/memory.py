"""What to do when memory is short, in one line."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

SHORT = ("not enough memory", "can't allocate memory", "cannot allocate memory")
"""How PyTorch says so of a CPU's memory."""


@contextmanager
def enough_memory() -> Iterator[None]:
    """Turn what PyTorch raises when memory is short into advice.

    Raises:
        ValueError: if memory is short.
    """
    try:
        yield
    except RuntimeError as error:
        short = any(words in str(error).lower() for words in SHORT)
        if not short and not isinstance(error, torch.OutOfMemoryError):
            raise
        raise ValueError(
            "the memory does not hold a training step: lower batch_size, raise accumulate, "
            "checkpoint activations, or share the weights out between more processes by fsdp"
        ) from error
