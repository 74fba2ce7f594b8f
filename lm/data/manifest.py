"""The manifest of prepared data: what it was made of, and which shards there are."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lm.data.vocabulary import Vocabulary
from lm.training.routes import LABELS
from oversight.record import as_read, flat, from_json, read_json, write_json

FILE = "manifest.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """What is known of a shard."""

    documents: tuple[int, ...]
    """how many there are of each label; a document has the highest of its tokens"""
    tokens: tuple[int, ...]
    """how many there are of each label"""
    following: int
    """the record of the source to go on with"""
    checksum: str
    """of its files"""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What data were made of, and which shards there are."""

    vocabulary: Vocabulary
    settings: Mapping[str, Any]
    """source, labeler and all else that the shards depend on, as plain data"""
    shards: tuple[Shard, ...] = ()
    complete: bool = False

    @property
    def dtype(self) -> type[np.uint16] | type[np.uint32]:
        """The type of tokens in the files."""
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
    def following(self) -> int:
        """The record of the source to go on with."""
        return self.shards[-1].following if self.shards else 0

    @property
    def documents(self) -> dict[str, int]:
        """How many documents there are of each label."""
        return self._total([shard.documents for shard in self.shards])

    @property
    def tokens(self) -> dict[str, int]:
        """How many tokens there are of each label."""
        return self._total([shard.tokens for shard in self.shards])

    def ended(self) -> "Manifest":
        """Return the manifest of data that are complete."""
        return replace(self, complete=True)

    def with_shard(self, shard: Shard) -> "Manifest":
        """Return the manifest with a shard more."""
        return replace(self, shards=(*self.shards, shard))

    @staticmethod
    def _total(counts: list[tuple[int, ...]]) -> dict[str, int]:
        return {name: sum(each[label] for each in counts) for label, name in enumerate(LABELS)}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a manifest, with its totals for whoever reads it."""
    totals = {"documents": manifest.documents, "tokens": manifest.tokens}
    write_json(folder / FILE, {"totals": totals} | asdict(manifest))


def read_manifest(folder: Path) -> Manifest:
    """Read a manifest.

    Raises:
        ValueError: if there is none, or it is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        raise ValueError(f"{folder} holds no prepared data: prepare some by `python -m lm.prepare`")
    data = read_json(path)
    try:
        return Manifest(
            vocabulary=from_json(Vocabulary, data["vocabulary"], str(path)),
            settings=dict(data["settings"]),
            shards=tuple(from_json(Shard, each, str(path)) for each in data["shards"]),
            complete=bool(data["complete"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error!r}): prepare the data anew") from error


def require_same(old: Manifest, new: Manifest, folder: Path) -> None:
    """Raise a ValueError if data in a folder were prepared with other settings."""
    theirs, ours = (
        dict(flat(as_read({"vocabulary": asdict(each.vocabulary), **each.settings})))
        for each in (old, new)
    )
    changed = sorted(k for k in theirs.keys() | ours.keys() if theirs.get(k) != ours.get(k))
    if changed:
        name = changed[0]
        raise ValueError(
            f"{folder} holds data prepared with other settings ({name} was {theirs.get(name)!r} "
            f"and is {ours.get(name)!r}): choose another folder, or remove this one"
        )
