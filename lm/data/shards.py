"""Prepared data on disk: shards of labeled tokens, their manifest, and how they are read.

A shard is three files: tokens as plain integers, bitmaps of their labels, and the starts of
documents. The manifest lists a shard once all three files exist, so that an interrupted preparation
resumes with the next shard. Shards are memory-mapped, and documents are read by number.

Documents belong to pools that never overlap (`lm.data.pools`).
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lm.data.document import Ids, Vocabulary, vocabulary
from lm.data.labeling import Labels
from lm.models.language_model import IGNORED
from lm.training.route_tables import FORGET, LABELS, RETAIN, UNLABELED
from oversight.runs.folder import as_read, flat, from_json, read_json, replace_file, write_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


MANIFEST_FILE = "manifest.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """The counts and the checksum of a shard."""

    documents: tuple[int, ...]
    """Number of documents by label; a document has the highest label of its tokens."""
    tokens: tuple[int, ...]
    """Number of tokens by label."""
    next_record: int
    """Index of the next record of the source."""
    checksum: str
    """Checksum of the shard's files."""
    counts: Mapping[str, int]
    """Counts of what was found in these documents (`lm.data.findings`)."""
    origins: Mapping[str, int]
    """Number of documents by the kind of their source."""
    marks: Mapping[str, int]
    """Number of documents that have each word, value or id of the labeler."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What data were prepared from, and their shards."""

    vocabulary: Vocabulary
    settings: Mapping[str, Any]
    """Source, labeler and all other settings that the shards depend on, as plain data."""
    shards: tuple[Shard, ...] = ()
    complete: bool = False
    findings: Mapping[str, int] = field(default_factory=dict)
    """Counts of what was found in all documents and labels (`lm.data.findings`)."""
    marks: Mapping[str, int] = field(default_factory=dict)
    """Number of documents that have each word or value of the labeler."""

    @property
    def dtype(self) -> type[np.uint16] | type[np.uint32]:
        """The dtype of tokens in the files."""
        return np.uint16 if self.vocabulary.size <= 65_535 else np.uint32

    def setting(self, name: str) -> Any:  # noqa: ANN401
        """Return a setting by name.

        Raises:
            ValueError: if the data were prepared without it.
        """
        if name not in self.settings:
            raise ValueError(
                f"the data were prepared by another version, which did not note {name!r}: prepare "
                "them anew"
            )
        return self.settings[name]

    @property
    def next_record(self) -> int:
        """The index of the next record of the source."""
        return self.shards[-1].next_record if self.shards else 0

    @property
    def documents(self) -> dict[str, int]:
        """The number of documents by label."""
        return _by_label([shard.documents for shard in self.shards])

    @property
    def tokens(self) -> dict[str, int]:
        """The number of tokens by label."""
        return _by_label([shard.tokens for shard in self.shards])

    @property
    def origins(self) -> dict[str, int]:
        """The number of documents by the kind of their source."""
        return total(shard.origins for shard in self.shards)

    @property
    def digest(self) -> str:
        """A checksum of all tokens and labels."""
        checksums = "".join(shard.checksum for shard in self.shards)
        return hashlib.sha256(checksums.encode()).hexdigest()


def total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sums of counts by name."""
    found: Counter[str] = Counter()
    for each in counts:
        found.update(each)
    return dict(found)


def _by_label(counts: list[tuple[int, ...]]) -> dict[str, int]:
    return {name: sum(each[label] for each in counts) for label, name in enumerate(LABELS)}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a manifest, with totals for human readers."""
    names = ("documents", "tokens", "origins")
    totals = {name: getattr(manifest, name) for name in names}
    write_json(folder / MANIFEST_FILE, {"totals": totals} | asdict(manifest))


def read_manifest(folder: Path) -> Manifest:
    """Read a manifest.

    Raises:
        ValueError: if there is none, or it is damaged.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise ValueError(f"{folder} holds no prepared data: prepare some by `python -m lm.prepare`")
    data = read_json(path)
    try:
        return Manifest(
            vocabulary=from_json(Vocabulary, data["vocabulary"], str(path)),
            settings=dict(data["settings"]),
            shards=tuple(from_json(Shard, each, str(path)) for each in data["shards"]),
            complete=bool(data["complete"]),
            findings=dict(data["findings"]),
            marks=dict(data["marks"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is damaged, or of another version ({error}): prepare the data anew"
        ) from error


def require_same(old: Manifest, new: Manifest, folder: Path) -> None:
    """Raise a ValueError if data in a folder were prepared with other settings."""
    theirs, ours = (
        dict(flat(as_read({"vocabulary": asdict(each.vocabulary), **each.settings})))
        for each in (old, new)
    )
    changed = sorted(k for k in theirs.keys() | ours.keys() if theirs.get(k) != ours.get(k))
    files = [name for name in changed if name.startswith("source.files.")]
    if files and files == changed:
        file = files[0].removeprefix("source.files.")
        how = "is gone" if files[0] not in ours else "changed" if files[0] in theirs else "is new"
        raise ValueError(
            f"{folder} holds data prepared from other files ({file} {how}): choose another folder, "
            "or remove this one"
        )
    if changed:
        name = changed[0]
        raise ValueError(
            f"{folder} holds data prepared with other settings ({name} was {theirs.get(name)!r} "
            f"and is {ours.get(name)!r}): choose another folder, or remove this one"
        )


PLANES = (UNLABELED, FORGET)
"""The labels that have a bitmap; a token in neither is labeled retain."""


def pack(labels: Labels) -> NDArray[np.uint8]:
    """Pack labels into bitmaps, [2, ceil(n / 8)].

    >>> pack(np.array([2, 0, 1, 0, 0, 0, 0, 0, 2], np.uint8)).tolist()
    [[4, 0], [1, 1]]
    """
    planes = [np.packbits(labels == label, bitorder="little") for label in PLANES]
    return np.stack(planes)


def unpack(planes: NDArray[np.uint8], start: int, stop: int) -> Labels:
    """Unpack the labels from `start` to `stop`.

    >>> unpack(np.array([[4, 0], [1, 1]], np.uint8), 2, 9).tolist()
    [1, 0, 0, 0, 0, 0, 2]
    """
    first = start // 8
    part = np.asarray(planes[:, first : -(-stop // 8)])
    bits = np.unpackbits(part, axis=1, bitorder="little")[:, start - 8 * first : stop - 8 * first]
    labels: Labels = (bits * np.array(PLANES, np.uint8)[:, None]).sum(0, dtype=np.uint8)
    return labels


def shard_files(folder: Path, number: int) -> tuple[Path, Path, Path]:
    """Return the paths of a shard: tokens, labels, and starts of documents."""
    names = ("tokens", "labels", "starts")
    tokens, labels, starts = (folder / f"{name}-{number:05}.bin" for name in names)
    return tokens, labels, starts


FOUND = ("counts", "origins", "marks")
"""Counts of a shard, by the names of its fields."""

Found = Mapping[str, Mapping[str, int]]
"""Counts by these names."""


class ShardWriter:
    """Collects documents, and writes a shard whenever there are enough tokens.

    Args:
        folder: the folder to write to.
        manifest: the manifest of the existing shards, after which new ones are written.
        shard_tokens: number of tokens at which a shard is full; documents are not split.
    """

    def __init__(self, folder: Path, manifest: Manifest, shard_tokens: int) -> None:
        self.folder, self.manifest, self.shard_tokens = folder, manifest, shard_tokens
        self._tokens: list[Ids] = []
        self._labels: list[Labels] = []
        self._size = 0
        self._next_record = manifest.next_record
        self._found: dict[str, Counter[str]] = {name: Counter() for name in FOUND}

    def add(self, number: int, tokens: Ids, labels: Labels, found: Found | None = None) -> None:
        """Add a document.

        Args:
            number: number of its record; those before it without a document have no text.
            tokens: its tokens.
            labels: their labels.
            found: `counts`, `origins` and `marks` of the document, as of a `Shard`.

        Raises:
            ValueError: if an id is outside of the vocabulary, a label is unknown, the labels do not
                match the tokens, or there is no token.
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
        self._found["counts"]["blank"] += number - self._next_record
        for name, counts in (found or {}).items():
            self._found[name].update(counts)
        self._next_record = number + 1
        if self._size >= self.shard_tokens:
            self._write()

    def flush(self) -> Manifest:
        """Write the remaining documents, and return the manifest."""
        if self._tokens:
            self._write()
        return self.manifest

    def close(
        self, findings: Mapping[str, int] | None = None, marks: Mapping[str, int] | None = None
    ) -> Manifest:
        """Write the remaining documents, mark the manifest as complete, and return it."""
        self.manifest = replace(
            self.flush(), complete=True, findings=findings or {}, marks=marks or {}
        )
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
            next_record=self._next_record,
            checksum=checksum.hexdigest(),
            **{name: dict(+counts) for name, counts in self._found.items()},
        )
        self.manifest = replace(self.manifest, shards=(*self.manifest.shards, shard))
        write_manifest(self.folder, self.manifest)
        self._tokens, self._labels, self._size = [], [], 0
        self._found = {name: Counter() for name in FOUND}


def _counts(labels: Labels) -> tuple[int, ...]:
    return tuple(np.bincount(labels, minlength=len(LABELS)).tolist())


class MappedShard:
    """The memory-mapped files of a shard.

    Raises:
        ValueError: if a file is missing or differs in size from the manifest.
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
        """Return the labels of tokens `start` to `stop`."""
        return unpack(self.planes, start, stop)


class Shards:
    """All documents of prepared data, by number."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest
        self.mapped = [MappedShard(folder, n, manifest) for n in range(len(manifest.shards))]
        self.firsts = np.cumsum([0, *(len(each.starts) - 1 for each in self.mapped)])
        """the number of each shard's first document, and of all documents"""

    def __len__(self) -> int:
        return int(self.firsts[-1])

    @property
    def digest(self) -> str:
        """A checksum of all tokens and labels."""
        return self.manifest.digest

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
        """Return the label of each document, the highest of its tokens. This reads all labels."""
        found = [
            np.maximum.reduceat(each.labels(0, len(each.tokens)), each.starts[:-1])
            for each in self.mapped
        ]
        return np.concatenate(found)


def open_shards(folder: Path, tokenizer: "PreTrainedTokenizerBase | None" = None) -> Shards:
    """Open prepared data, and check that they match a tokenizer if one is given.

    Raises:
        ValueError: if there are none, they are incomplete, or were prepared with another tokenizer.
    """
    manifest = read_manifest(folder)
    if not manifest.complete:
        raise ValueError(f"{folder} is not complete: call `python -m lm.prepare` again to resume")
    if tokenizer is not None and vocabulary(tokenizer) != manifest.vocabulary:
        raise ValueError(
            f"{folder} was prepared with the tokenizer {manifest.settings.get('tokenizer')}, and "
            "the model has another: prepare the data with the model's own"
        )
    return Shards(folder, manifest)


def require_undamaged(folder: Path, manifest: Manifest) -> None:
    """Raise a ValueError if the files of a shard are not those that were written."""
    for number, shard in enumerate(manifest.shards):
        checksum = hashlib.sha256()
        for path in shard_files(folder, number):
            checksum.update(path.read_bytes() if path.is_file() else b"")
        if checksum.hexdigest() != shard.checksum:
            raise ValueError(
                f"shard {number} of {folder} is damaged: remove the folder, and prepare the data "
                "anew"
            )


def _map(path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> NDArray[Any]:
    expected = int(np.prod(shape)) * np.dtype(dtype).itemsize
    found = path.stat().st_size if path.is_file() else None
    if found != expected:
        size = "missing" if found is None else f"{found} bytes long"
        raise ValueError(
            f"{path} is {size}, but the manifest records {expected} bytes: prepare the data anew"
        )
    return np.memmap(path, dtype, mode="r", shape=shape)


Row = tuple[Ids, NDArray[np.int64]]
"""Tokens, [context + 1], padded with `IGNORED`, and the labels of all but the first."""


def document_row(shards: Shards, number: int, context: int) -> Row:
    """Return a document as a row, truncated to the context, after the token that precedes it."""
    tokens, labels = (part[:context] for part in shards.document(number))
    row = np.full(context + 1, IGNORED, np.int64)
    row[0], row[1 : len(tokens) + 1] = shards.manifest.vocabulary.start, tokens
    routes = np.full(context, RETAIN, np.int64)
    routes[: len(labels)] = labels
    return row, routes
