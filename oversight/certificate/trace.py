"""Trace: fingerprints of everything that a training run had, channel by channel, in order."""

import hashlib
import struct
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
import torch


class Entry(NamedTuple):
    """One thing at one time: two runs had the same if the digests are equal."""

    step: int
    name: str
    digest: bytes


class Difference(NamedTuple):
    """The first entry of a channel in which two runs differ."""

    step: int
    name: str


class Trace:
    """What one run had in each channel, as a list of digests; the values are not kept."""

    def __init__(self) -> None:
        self.channels: dict[str, list[Entry]] = {}

    def note(self, channel: str, step: int, name: str, value: object) -> None:
        """Append the digest of a value.

        Args:
            channel: what kind of thing it is.
            step: environment steps taken so far.
            name: what it is.
            value: numbers, strings, arrays, tensors, and mappings and sequences of such.

        Raises:
            ValueError: if it holds anything else, which could not be compared bit for bit.
        """
        digest = hashlib.blake2b(digest_size=16)
        for part in _parts(value, name):
            digest.update(part)
        self.channels.setdefault(channel, []).append(Entry(step, name, digest.digest()))

    def count(self, channel: str) -> int:
        """Return the number of entries in a channel."""
        return len(self.channels.get(channel, []))

    def difference(self, other: "Trace", channel: str) -> Difference | None:
        """Return where two runs first differ in a channel, or None where they are identical."""
        mine, theirs = self.channels.get(channel, []), other.channels.get(channel, [])
        for one, two in zip_longest(mine, theirs):
            if one != two:
                entry = two or one
                assert entry is not None
                return Difference(entry.step, entry.name)
        return None


def _parts(value: Any, name: str) -> Iterator[bytes]:  # noqa: ANN401
    """Yield bytes that no two different values share: each says its type and where it ends."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray | np.generic) and value.dtype != np.object_:
        yield f"{value.dtype.str}{value.shape}\0".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif isinstance(value, Mapping):
        yield f"mapping {len(value)}\0".encode()
        for key in sorted(value, key=repr):
            yield f"{key!r}\0".encode()
            yield from _parts(value[key], f"{name}.{key}")
    elif isinstance(value, list | tuple | np.ndarray):
        yield f"sequence {len(value)}\0".encode()
        for part in value:
            yield from _parts(part, name)
    else:
        yield _plain(value, name)


def _plain(value: object, name: str) -> bytes:
    if isinstance(value, float):  # NaN has bits too
        return b"float" + struct.pack("<d", value)
    if isinstance(value, bool | int | str | bytes | None):
        return f"{type(value).__name__} {value!r}\0".encode()
    raise ValueError(
        f"{name} is of {type(value).__name__}, which cannot be compared bit for bit: let the "
        "environment return arrays, numbers and strings"
    )
