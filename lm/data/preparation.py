"""Preparing data: documents in, shards of labeled tokens out, from where an earlier call ended."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lm.data.document import tokens_of, vocabulary
from lm.data.labeling import LabelerConfig, described, make_labeler
from lm.data.shards import FILE, Manifest, ShardWriter, read_manifest, require_same
from lm.data.sources import Files, Hub, documents
from lm.data.sources import described as described_source

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

T = TypeVar("T")

TOGETHER = 256
"""Documents that a tokenizer is given at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparationConfig:
    """What data are made of, all but the tokenizer.

    Raises:
        ValueError: if a number is out of its range.
    """

    source: Hub | Files
    labeler: LabelerConfig = field(default_factory=LabelerConfig)
    documents: int | None = None
    """how many at most; None for all"""
    context: int | None = 256
    """tokens that a document is cut at, its end included; None for no cut"""
    shard_tokens: int = 2**22
    """tokens from which on a shard is full"""
    gguf_file: str | None = None
    """of the tokenizer, noted for whoever loads it again"""

    def __post_init__(self) -> None:
        for name in ("documents", "context", "shard_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")


def prepare(
    config: PreparationConfig,
    tokenizer: "PreTrainedTokenizerBase",
    folder: Path,
    progress: Callable[[int], None] = lambda documents: None,
) -> Manifest:
    """Prepare data, from where an earlier call ended; return what there is in the end.

    A call that was killed left whole shards. The next one goes on with the next shard, and ends
    with the same bytes.

    Args:
        config: what the data are made of.
        tokenizer: of the model that they are for.
        folder: where to write.
        progress: called with the number of documents that there are.

    Raises:
        ValueError: if the folder holds data of other settings, a document cannot be read, or there
            is none.
    """
    manifest = find_manifest(config, tokenizer, folder)
    progress(done := sum(manifest.documents.values()))
    if manifest.complete:
        return manifest
    label = make_labeler(config.labeler, tokenizer)
    writer = ShardWriter(folder, manifest, config.shard_tokens)
    left = None if config.documents is None else config.documents - done
    found = islice(documents(config.source, manifest.next_record), left)
    end, context = manifest.vocabulary.end, config.context
    for batch in _batches(found, TOGETHER):
        tokens = tokens_of(tokenizer, [document.text for document in batch], end, context)
        for document, own in zip(batch, tokens, strict=True):
            writer.add(document.number, own, label(document, own))
        progress(done := done + len(batch))
    if not done:
        raise ValueError("the source holds no document with text: give another")
    return writer.close()


def find_manifest(
    config: PreparationConfig, tokenizer: "PreTrainedTokenizerBase", folder: Path
) -> Manifest:
    """Return the manifest of a folder, or of nothing yet.

    Raises:
        ValueError: if the folder holds data of other settings, or something else.
    """
    new = Manifest(
        vocabulary=vocabulary(tokenizer),
        settings={
            "tokenizer": str(tokenizer.name_or_path),
            "gguf_file": config.gguf_file,
            "source": described_source(config.source),
            "labeler": described(config.labeler),
            **{n: asdict(config)[n] for n in ("documents", "context", "shard_tokens")},
        },
    )
    if not (folder / FILE).exists():
        folder.mkdir(parents=True, exist_ok=True)
        return new
    old = read_manifest(folder)
    require_same(old, new, folder)
    return old


def _batches(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while batch := list(islice(items, size)):
        yield batch
