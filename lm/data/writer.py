"""Shards, written one after the other; after a kill the next writer goes on with the next shard.

A shard is three files: tokens as plain integers, the bitmaps of their labels, and where documents
begin. The manifest names it once all three are there.
"""

import hashlib
from pathlib import Path

import numpy as np

from lm.data.labelers import Labels
from lm.data.manifest import Manifest, Shard, write_manifest
from lm.data.planes import pack
from lm.data.vocabulary import Ids
from lm.training.routes import LABELS
from oversight.files import replace_file


def shard_files(folder: Path, number: int) -> tuple[Path, Path, Path]:
    """Return the files of a shard: tokens, labels, and starts of documents."""
    names = ("tokens", "labels", "starts")
    tokens, labels, starts = (folder / f"{name}-{number:05}.bin" for name in names)
    return tokens, labels, starts


class ShardWriter:
    """Collects documents, and writes a shard whenever there are enough tokens for one.

    Args:
        folder: where to write.
        manifest: of the shards that are there already; new ones come after them.
        shard_tokens: tokens from which on a shard is full; documents are not parted.
    """

    def __init__(self, folder: Path, manifest: Manifest, shard_tokens: int) -> None:
        self.folder, self.manifest, self.shard_tokens = folder, manifest, shard_tokens
        self._tokens: list[Ids] = []
        self._labels: list[Labels] = []
        self._size = 0
        self._following = manifest.following

    def add(self, number: int, tokens: Ids, labels: Labels) -> None:
        """Add a document: the number of its record, its tokens and theirs labels.

        Raises:
            ValueError: if an id is not of the vocabulary, a label unknown, there is not one label
                for each token, or no token at all.
        """
        size = self.manifest.vocabulary.size
        if not len(tokens) or tokens.min() < 0 or tokens.max() >= size:
            raise ValueError(
                f"document {number} has tokens outside of the vocabulary, or none: ids go from 0 "
                f"to {size - 1}"
            )
        if labels.shape != tokens.shape or labels.max() >= len(LABELS):
            raise ValueError(
                f"document {number} has labels of shape {labels.shape} up to {labels.max()} for "
                f"{len(tokens)} tokens: give each one of {', '.join(LABELS)} by its number"
            )
        self._tokens.append(tokens)
        self._labels.append(labels)
        self._size += len(tokens)
        self._following = number + 1
        if self._size >= self.shard_tokens:
            self._write()

    def close(self) -> Manifest:
        """Write what is left, and the manifest of the data, which are complete now."""
        if self._tokens:
            self._write()
        self.manifest = self.manifest.ended()
        write_manifest(self.folder, self.manifest)
        return self.manifest

    def _write(self) -> None:
        labels = np.concatenate(self._labels)
        starts = np.cumsum([0, *map(len, self._tokens)], dtype=np.int64)
        content = (
            np.concatenate(self._tokens).astype(self.manifest.dtype).tobytes(),
            pack(labels).tobytes(),
            starts.tobytes(),
        )
        checksum = hashlib.sha256()
        files = shard_files(self.folder, len(self.manifest.shards))
        for path, data in zip(files, content, strict=True):
            replace_file(path, data)
            checksum.update(data)
        of_document = np.maximum.reduceat(labels, starts[:-1])
        shard = Shard(
            documents=_counts(of_document),
            tokens=_counts(labels),
            following=self._following,
            checksum=checksum.hexdigest(),
        )
        self.manifest = self.manifest.with_shard(shard)
        write_manifest(self.folder, self.manifest)
        self._tokens, self._labels, self._size = [], [], 0


def _counts(labels: Labels) -> tuple[int, ...]:
    return tuple(np.bincount(labels, minlength=len(LABELS)).tolist())
