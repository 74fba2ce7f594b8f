"""A tiny tokenizer, documents for labelers, files of each format, and shards of random tokens."""

import csv
import gzip
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from lm.data.document import Ids, Vocabulary
from lm.data.labeling import Labels
from lm.data.lines import suffix_of
from lm.data.shards import Manifest, Shards, ShardWriter, open_shards

transformers = pytest.importorskip("transformers")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

END = "<|endoftext|>"
WORDS = ("forest", "tree", "sea", "virus", "RNA", "cell")

RECORDS = [
    {
        "text": f"Story {n}: the {WORDS[n % 6]} was {'very ' * (n % 9)}old.",
        "topic": WORDS[n % 6],
        "score": n % 10 / 10,
        "id": f"d{n}",
    }
    for n in range(60)
]
"""Documents of one to two dozen tokens; one in three has a word of `TREES`."""


def make_tokenizer(vocab_size: int = 330, texts: Sequence[str] = ()) -> "PreTrainedTokenizerBase":
    """Return a byte-level tokenizer; token 0 ends a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([*texts, *(str(r["text"]) for r in RECORDS)], trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END)


def write_lines(path: Path, records: Sequence[Mapping[str, Any]] = RECORDS) -> Path:
    """Write records as JSON lines."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


FORMATS = (".csv", ".json", ".jsonl", ".ndjson", ".parquet")
"""Suffixes of files whose records have fields."""


def write_records(path: Path, records: Sequence[Mapping[str, Any]] = RECORDS) -> Path:
    """Write records in the format, and with the compression, of a file's suffixes."""
    suffix = suffix_of(path)
    if suffix == ".parquet":
        made = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(list(records)), made)
        content = made.getvalue()
    elif suffix == ".csv":
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(records[0]))
        writer.writeheader()
        writer.writerows(records)
        content = text.getvalue().encode()
    elif suffix == ".json":
        content = json.dumps(list(records)).encode()
    else:
        content = "".join(json.dumps(record) + "\n" for record in records).encode()
    return write_compressed(path, content)


def write_compressed(path: Path, content: bytes) -> Path:
    """Write content with the compression of a file's last suffix."""
    compress = {".gz": gzip.compress, ".zst": lambda data: pa.compress(data, "zstd", asbytes=True)}
    path.write_bytes(compress.get(path.suffix.lower(), bytes)(content))
    return path


def make_manifest(size: int = 100, end: int = 0) -> Manifest:
    """Return an empty manifest for a vocabulary of the given size."""
    made = Vocabulary(checksum="made", size=size, start=end, end=end, around=("<end>", "<end>"))
    return Manifest(vocabulary=made, settings={})


def make_shards(
    folder: Path, lengths: Sequence[int], shard_tokens: int, seed: int = 0, size: int = 100
) -> tuple[Shards, list[tuple[Ids, Labels]]]:
    """Write documents of random tokens and labels; return the shards and the documents."""
    rng = np.random.default_rng(seed)
    made = [
        (rng.integers(1, size, length), rng.integers(0, 3, length).astype(np.uint8))
        for length in lengths
    ]
    writer = ShardWriter(folder, make_manifest(size), shard_tokens)
    for number, (tokens, labels) in enumerate(made):
        writer.add(number, tokens, labels)
    writer.close()
    return open_shards(folder), made
