"""Prepared data, mapped from their files: documents as tokens with labels, by number."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lm.data.labelers import Labels
from lm.data.manifest import Manifest, read_manifest
from lm.data.planes import PLANES, unpack
from lm.data.vocabulary import Ids, vocabulary
from lm.data.writer import shard_files

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Mapped:
    """A shard's files, mapped into memory.

    Args:
        folder: of the shards.
        number: of the shard.
        manifest: that names it.

    Raises:
        ValueError: if a file is missing or of another size than the manifest says.
    """

    def __init__(self, folder: Path, number: int, manifest: Manifest) -> None:
        shard = manifest.shards[number]
        size, documents = sum(shard.tokens), sum(shard.documents)
        planes = (len(PLANES), -(-size // 8))
        tokens, labels, starts = shard_files(folder, number)
        self.tokens: NDArray[np.uint16 | np.uint32] = _map(tokens, manifest.dtype, (size,))
        self.planes: NDArray[np.uint8] = _map(labels, np.uint8, planes)
        self.starts: NDArray[np.int64] = _map(starts, np.int64, (documents + 1,))

    def labels(self, start: int, stop: int) -> Labels:
        """Return the labels of some tokens."""
        return unpack(self.planes, start, stop)


class Shards:
    """All documents of prepared data, by number from 0 on.

    Args:
        folder: of the data.
        manifest: theirs.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest
        self.mapped = [Mapped(folder, n, manifest) for n in range(len(manifest.shards))]
        self.firsts = np.cumsum([0, *(len(each.starts) - 1 for each in self.mapped)])
        """the number of each shard's first document, and of all documents"""

    def __len__(self) -> int:
        return int(self.firsts[-1])

    @property
    def digest(self) -> str:
        """A checksum of all tokens and labels."""
        checksums = "".join(shard.checksum for shard in self.manifest.shards)
        return hashlib.sha256(checksums.encode()).hexdigest()

    def document(self, number: int) -> tuple[Ids, Labels]:
        """Return the tokens of a document, its end included, and their labels.

        Raises:
            IndexError: if there is no such document.
        """
        if not 0 <= number < len(self):
            raise IndexError(f"document {number} of {len(self)}")
        place = int(np.searchsorted(self.firsts, number, side="right")) - 1
        mapped, own = self.mapped[place], number - int(self.firsts[place])
        start, stop = int(mapped.starts[own]), int(mapped.starts[own + 1])
        return mapped.tokens[start:stop].astype(np.int64), mapped.labels(start, stop)

    def document_labels(self) -> Labels:
        """Return the label of each document, the highest of its tokens; this reads all labels."""
        found = [
            np.maximum.reduceat(each.labels(0, len(each.tokens)), each.starts[:-1])
            for each in self.mapped
        ]
        return np.concatenate(found)


def open_shards(folder: Path, tokenizer: "PreTrainedTokenizerBase | None" = None) -> Shards:
    """Return prepared data, for a model with a tokenizer if one is given.

    Raises:
        ValueError: if there are none, they are not complete, or of another tokenizer.
    """
    manifest = read_manifest(folder)
    if not manifest.complete:
        raise ValueError(
            f"{folder} is not complete: call `python -m lm.prepare` again as before to go on"
        )
    if tokenizer is not None and vocabulary(tokenizer) != manifest.vocabulary:
        raise ValueError(
            f"{folder} was prepared with the tokenizer {manifest.settings.get('tokenizer')}, and "
            "the model has another: prepare the data with the model's own"
        )
    return Shards(folder, manifest)


def _map(path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> NDArray[Any]:
    expected = int(np.prod(shape)) * np.dtype(dtype).itemsize
    found = path.stat().st_size if path.is_file() else None
    if found != expected:
        size = "missing" if found is None else f"{found} bytes long"
        raise ValueError(
            f"{path} is {size}, and the manifest says {expected} bytes: prepare the data anew"
        )
    return np.memmap(path, dtype, mode="r", shape=shape)
