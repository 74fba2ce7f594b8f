"""Prepare data: read documents, write shards of labeled tokens, resume if interrupted."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from lm.corpus.grammar import END
from lm.corpus.tokens import WORDS, train_tokenizer
from lm.data.document import (
    chat_settings,
    encode_documents,
    tokenizer_checksum,
    vocabulary,
)
from lm.data.files import SEPARATORS
from lm.data.findings import Records, find, label_document
from lm.data.labeling import LabelerConfig, labeler_settings, make_labeler
from lm.data.pools import FITTED
from lm.data.records import ChatTemplate
from lm.data.shards import (
    MANIFEST_FILE,
    Manifest,
    Shards,
    ShardWriter,
    read_manifest,
    require_same,
    require_undamaged,
)
from lm.data.sources import (
    DocumentStream,
    Files,
    Hub,
    Lists,
    documents,
    number_skipped,
    source_settings,
)
from lm.models.hf_loading import load_tokenizer
from oversight.runs.settings import require_numbers

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOKENIZER_FILE = "tokenizer.json"
"""The file of a folder that holds a tokenizer."""
TOKENIZER_BATCH = 256
"""Documents per call of the tokenizer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparationConfig:
    """What data are prepared from, except for the tokenizer.

    Raises:
        ValueError: if a number is out of its range, or the labels lie among the documents.
    """

    source: Hub | Files | Lists
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
        labels = self.labeler.labels
        if isinstance(self.source, Files) and labels is not None:
            require_outside(labels, self.source.path, "the file of labels")


TRAINED_ON = 200_000
"""Number of documents, the first ones, that a new tokenizer is trained on."""


def train_new_tokenizer(source: Hub | Files | Lists, vocab_size: int, folder: Path) -> None:
    """Train a tokenizer on documents, and save it in a new folder.

    If the folder holds a tokenizer of that size, it is kept, so that a preparation can resume.

    Raises:
        ValueError: if the folder holds something else, the size is out of range, or no document has
            text.
    """
    if (folder / TOKENIZER_FILE).exists():
        found = len(load_tokenizer(folder))
        if found != vocab_size:
            raise ValueError(
                f"{folder} holds a tokenizer of {found} tokens, not {vocab_size}: leave out "
                "--vocab-size to use it, or name a new folder"
            )
        return
    if folder.exists():
        raise ValueError(f"{folder} exists, and holds no tokenizer: name a new folder")
    texts = (document.text for document in DocumentStream(documents(source)))
    tokenizer = train_tokenizer(islice(texts, TRAINED_ON), vocab_size, WORDS)
    try:
        from transformers import PreTrainedTokenizerFast  # noqa: PLC0415 (it needs the extra)
    except ImportError as error:
        raise ValueError(
            "a new tokenizer needs the package `transformers`: pip install -e '.[hf]'"
        ) from error
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END).save_pretrained(folder)


def require_outside(path: Path, source: Path, name: str) -> None:
    """Raise a ValueError if a path lies in the folder of documents, and would be read as one."""
    if path.resolve().is_relative_to(source.resolve()):
        raise ValueError(
            f"{name} {path} lies in the documents {source}, and would be read as one of them: move "
            "it elsewhere"
        )


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
        require_undamaged(folder, manifest)
        return manifest
    labeler = make_labeler(config.labeler, tokenizer)
    writer = ShardWriter(folder, manifest, config.shard_tokens)
    left = None if config.documents is None else config.documents - done
    first = manifest.next_record
    stream = DocumentStream(documents(config.source, first, ChatTemplate(tokenizer)), first)
    found = islice(stream, left)
    end, context = manifest.vocabulary.end, config.context
    ends = {*SEPARATORS, *filter(None, [tokenizer.eos_token])}
    while batch := list(islice(found, TOKENIZER_BATCH)):
        texts = [document.text for document in batch]
        rendered = [document.messages is not None for document in batch]
        encoded = encode_documents(tokenizer, texts, end, context, rendered)
        for document, own in zip(batch, encoded, strict=True):
            labels, noted = label_document(labeler, document, own, ends)
            writer.add(document.number, own.tokens, labels, noted)
        progress(done := done + len(batch))
    if not done:
        raise ValueError("the source holds no document with text: give another")
    exhausted = config.documents is None or done < config.documents
    records = Records(stream.records, exhausted, number_skipped(config.source))
    return writer.close(*find(Shards(folder, writer.flush()), labeler, records))


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
            "tokenizer_checksum": tokenizer_checksum(tokenizer),
            **chat_settings(tokenizer),
            "gguf_file": config.gguf_file,
            **({"pools": FITTED} if isinstance(config.source, Lists) else {}),
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
