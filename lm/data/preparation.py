"""Prepare data: read documents, write shards of labeled tokens, resume if interrupted."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from lm.data.document import tokens_of, vocabulary
from lm.data.labeling import LabelerConfig, labeler_settings, make_labeler
from lm.data.shards import MANIFEST_FILE, Manifest, ShardWriter, read_manifest, require_same
from lm.data.sources import Files, Hub, documents, source_settings
from oversight.runs.settings import require_numbers

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOKENIZER_BATCH = 256
"""Documents per call of the tokenizer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparationConfig:
    """What data are prepared from, except for the tokenizer.

    Raises:
        ValueError: if a number is out of its range.
    """

    source: Hub | Files
    labeler: LabelerConfig = field(default_factory=LabelerConfig)
    documents: int | None = None
    """Maximum number of documents; None reads all."""
    context: int | None = 256
    """Maximum number of tokens of a document, its end included; None sets no limit."""
    shard_tokens: int = 2**22
    """Number of tokens at which a shard is full."""
    gguf_file: str | None = None
    """GGUF file of the tokenizer's model, stored so that the tokenizer can be loaded again."""

    def __post_init__(self) -> None:
        require_numbers(self, "documents", "context", "shard_tokens", least=1)


def prepare(
    config: PreparationConfig,
    tokenizer: "PreTrainedTokenizerBase",
    folder: Path,
    progress: Callable[[int], None] = lambda documents: None,
) -> Manifest:
    """Prepare data, and return their manifest.

    An interrupted call leaves complete shards. The next call resumes with the next shard and
    produces byte-identical shards.

    The tokenizer is that of the model that the data are for. `progress` is called with the number
    of documents so far.

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
    while batch := list(islice(found, TOKENIZER_BATCH)):
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
    """Return the manifest of a folder, or a new one.

    Raises:
        ValueError: if the folder holds data of other settings, or something else.
    """
    new = Manifest(
        vocabulary=vocabulary(tokenizer),
        settings={
            "tokenizer": str(tokenizer.name_or_path),
            "gguf_file": config.gguf_file,
            "source": source_settings(config.source),
            "labeler": labeler_settings(config.labeler),
            **{n: asdict(config)[n] for n in ("documents", "context", "shard_tokens")},
        },
    )
    if not (folder / MANIFEST_FILE).exists():
        folder.mkdir(parents=True, exist_ok=True)
        return new
    old = read_manifest(folder)
    require_same(old, new, folder)
    return old
