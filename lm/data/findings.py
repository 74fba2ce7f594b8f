"""What was found while documents were labeled that a user must know: counts, each with a sentence.

Labels can be empty, doubled, contradictory or of nothing, and documents can be blank, repeated or
longer than the context. None of this ends the preparation, but all of it is counted in the manifest
and told in a line at its end.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from lm.data.document import Document, Encoded
from lm.data.files import SEPARATORS
from lm.data.labeling import EMPTY, Labeler, Labels
from lm.data.shards import SHARES, Manifest, Pools, Shards, total
from lm.training.route_tables import FORGET

SENTENCES = {
    "skipped_files": "{skipped_files:,} hidden files or files of other kinds were not read",
    "blank": "{blank:,} records without text were skipped",
    "cut": "{cut:,} documents had more than {context} tokens and were cut, by {dropped_tokens:,} "
    "tokens",
    "beyond_cut": "warning: {beyond_cut:,} documents have something to forget only in the part "
    "that was cut off, and are labeled by what is kept: a larger --context keeps more",
    "separators": "warning: {separators:,} documents spell a separator such as <|endoftext|>, "
    "which stays in their text",
    "repeated": "{repeated:,} documents repeat the text of an earlier one",
    "shared": "warning: {shared:,} documents of exams and attacks have the text of one to train on",
    "contradictory": "warning: {contradictory:,} documents have the text of one with another label",
    "blank_marks": "warning: {blank_marks:,} blank words were given and left out",
    "doubled_marks": "warning: {doubled_marks:,} {kind}s were given more than once",
    "words_of_several_tokens": "warning: {words_of_several_tokens:,} words are not one token, and "
    "label nothing",
    "empty_values": "warning: {empty_values:,} documents have an empty value, and are unlabeled "
    "unless it was given",
    "shared_ids": "warning: {shared_ids:,} documents have the id of an earlier one",
    "unused_marks": "warning: {unused_marks:,} of {marks:,} {kind}s are in no document{names}",
    "unused_labels": "warning: {unused_labels:,} labels are of records beyond the last one",
}
"""The sentence of each count, which is told if the count is above zero."""

NAMED = 8
"""Most words or values of no document that are named."""


class Records(NamedTuple):
    """What was read of a source."""

    number: int
    """Number of records that were read."""
    exhausted: bool
    """Whether there are no more."""
    skipped_files: int
    """Number of files that were not read."""


def label_document(
    labeler: Labeler, document: Document, encoded: Encoded
) -> tuple[Labels, dict[str, dict[str, int]]]:
    """Return the labels of a document's tokens, and what was found in it (`ShardWriter.add`).

    A document is labeled by what is kept of it.
    """
    kept = document._replace(text=encoded.text)
    labels = labeler(kept, encoded.tokens)
    counts = {}
    if encoded.dropped:
        counts = {"cut": 1, "dropped_tokens": encoded.dropped}
        if labels.max() != FORGET and labeler(document, encoded.whole).max() == FORGET:
            counts["beyond_cut"] = 1
    if any(each in document.text for each in SEPARATORS):
        counts["separators"] = 1
    marks = dict.fromkeys(labeler.marks_of(kept, encoded.tokens), 1)
    return labels, {"counts": counts, "origins": {document.origin: 1}, "marks": marks}


def find(
    shards: Shards, labeler: Labeler, records: Records
) -> tuple[dict[str, int], dict[str, int]]:
    """Return the counts of all that was found, and the number of documents of each mark.

    Ids are too many to return each: their marks are only counted.
    """
    manifest = shards.manifest
    counts = total(shard.counts for shard in manifest.shards)
    counts["blank"] = counts.get("blank", 0) + records.number - manifest.next_record
    counts |= labeler.counts | repeats(shards) | {"skipped_files": records.skipped_files}
    found = total(shard.marks for shard in manifest.shards)
    counts["empty_values"] = found.pop(EMPTY, 0)
    if labeler.kind == "id":
        counts["shared_ids"] = sum(found.values()) - len(found)
    if labeler.kind != "id" or records.exhausted:
        counts["unused_marks"] = len(labeler.marks) - len(found)
    if labeler.lines is not None and records.exhausted:
        counts["unused_labels"] = max(0, labeler.lines - records.number)
    marks = {} if labeler.kind == "id" else {mark: found.get(mark, 0) for mark in labeler.marks}
    return {**counts, "marks": len(labeler.marks)}, marks


def repeats(shards: Shards) -> dict[str, int]:
    """Return counts of documents with the kept text of another one."""
    digests = [
        hashlib.sha256(mapped.tokens[start:stop].tobytes()).digest()[:8]
        for mapped in shards.mapped
        for start, stop in zip(mapped.starts[:-1], mapped.starts[1:], strict=True)
    ]
    keys = np.frombuffer(b"".join(digests), np.uint64)
    _, group = np.unique(keys, return_inverse=True)
    labels, groups = shards.document_labels(), int(group.max()) + 1
    lowest, highest = np.full(groups, 255), np.zeros(groups, int)
    np.minimum.at(lowest, group, labels)
    np.maximum.at(highest, group, labels)
    training = Pools(labels).pools == list(SHARES).index("train")
    trained = np.zeros(groups, bool)
    trained[group[training]] = True
    return {
        "repeated": len(keys) - groups,
        "shared": int((trained[group] & ~training).sum()),
        "contradictory": int((lowest != highest)[group].sum()),
    }


def sentences(manifest: Manifest) -> Iterator[str]:
    """Yield a line for each count above zero, and for labels that no document has."""
    for origin, number in manifest.origins.items():
        yield f"{number:,} documents from {origin}"
    for label in ("forget", "retain"):
        if not manifest.documents[label]:
            yield (
                f"warning: no document of {sum(manifest.documents.values()):,} is labeled {label}: "
                "a study needs some"
            )
    missing = [mark for mark, number in manifest.marks.items() if not number]
    names = ", ".join([*map(repr, missing[:NAMED]), *(["..."] if missing[NAMED:] else [])])
    words: Mapping[str, object] = {
        **manifest.findings,
        "context": manifest.setting("context"),
        "kind": _kind(manifest),
        "names": f": {names}" if names else "",
    }
    for name, sentence in SENTENCES.items():
        if manifest.findings.get(name):
            yield sentence.format(**words)


def _kind(manifest: Manifest) -> str:
    """Return what the marks of a labeler are."""
    labeler = manifest.setting("labeler")["labeler"]
    return {"field": "value", "list": "id"}.get(labeler, "word")
