"""Counts of what a user must know about labels and documents, each with a sentence.

Words or values may be blank, doubled or in no document, labels may contradict each other, and
documents may be blank, repeated or longer than the context. None of this ends a preparation: the
counts are kept in the manifest, and a line for each is printed at the end.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lm.data.document import Document, Encoded, listed
from lm.data.labeling import Labeler, Labels
from lm.data.pools import SHARES, pools_of
from lm.data.shards import Manifest, Shards, total
from lm.training.route_tables import FORGET, RETAIN

SENTENCES = {
    "skipped_files": "files that were not read, hidden or of other kinds, and links to folders or "
    "pages: {skipped_files:,}",
    "blank": "records without text, which were skipped: {blank:,}",
    "cut": "documents cut at {context} tokens: {cut:,} (tokens dropped: {dropped_tokens:,})",
    "beyond_cut": "warning: documents with something to forget only beyond the cut, which are "
    "labeled by what is kept: {beyond_cut:,} (a larger --context keeps more)",
    "separators": "warning: documents in whose text a token that ends a text is spelled, such as "
    "<|endoftext|>: {separators:,} (--separators divides .txt files by it)",
    "repeated": "documents with the kept text of an earlier one: {repeated:,}",
    "shared": "warning: documents of exams and attacks with the kept text of one to train on: "
    "{shared:,}",
    "contradictory": "warning: documents with the kept text of one with another label: "
    "{contradictory:,}",
    "blank_marks": "warning: {kind}s that are blank, and were left out: {blank_marks:,}",
    "doubled_marks": "warning: {kind}s that were given again: {doubled_marks:,}",
    "words_of_several_tokens": "warning: words that are not one token, and label nothing: "
    "{words_of_several_tokens:,}",
    "other_forms": "warning: documents that spell a word in other characters of Unicode "
    "(decomposed or zero-width), whose tokens are not labeled: {other_forms:,}",
    "missing_words": "warning: documents without the words to forget that their field names, which "
    "are labeled retain: {missing_words:,}",
    "empty_values": "warning: documents with an empty value, unlabeled unless it was given: "
    "{empty_values:,}",
    "other_case": "warning: documents with a value that differs from a given one in the case of "
    "letters, and does not count as it: {other_case:,}",
    "shared_ids": "warning: documents with the id of an earlier one: {shared_ids:,}",
    "unused_marks": "warning: {kind}s in no document: {unused_marks:,} of {marks:,}{names}",
    "unused_labels": "warning: labels beyond the last record: {unused_labels:,}",
}
"""The sentence of each count, which is printed if the count is above zero."""

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
    labeler: Labeler, document: Document, encoded: Encoded, ends: Collection[str]
) -> tuple[Labels, dict[str, dict[str, int]]]:
    """Return the labels of a document's tokens, and what was found in it (`ShardWriter.add`).

    A document is labeled by what is kept of it.

    Args:
        labeler: the rule.
        document: the whole document.
        encoded: its tokens.
        ends: spellings of tokens that end a text, which should not be part of one.
    """
    kept = document._replace(text=encoded.text)
    labels = labeler(kept, encoded.tokens)
    counts = dict(labeler.odd(kept))
    if encoded.dropped:
        counts |= {"cut": 1, "dropped_tokens": encoded.dropped}
        if labels.max() != FORGET and labeler(document, encoded.whole).max() == FORGET:
            counts["beyond_cut"] = 1
    written = document.text if document.messages is None else document.messages
    if any(each in written for each in ends):
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
    if labeler.kind == "id":
        counts["shared_ids"] = sum(found.values()) - len(found)
    if labeler.kind != "id" or records.exhausted:
        counts["unused_marks"] = len(labeler.marks) - len(found)
    if labeler.lines is not None and records.exhausted:
        counts["unused_labels"] = max(0, labeler.lines - records.number)
    marks = {} if labeler.kind == "id" else {mark: found.get(mark, 0) for mark in labeler.marks}
    return {**counts, "marks": len(labeler.marks)}, marks


def _by_text(shards: Shards) -> tuple[NDArray[np.int64], Labels, Labels]:
    """Return groups of documents with equal kept text, and the lowest and highest label of each."""
    digests = [
        hashlib.sha256(mapped.tokens[start:stop].tobytes()).digest()[:8]
        for mapped in shards.mapped
        for start, stop in zip(mapped.starts[:-1], mapped.starts[1:], strict=True)
    ]
    keys = np.frombuffer(b"".join(digests), np.uint64)
    _, group = np.unique(keys, return_inverse=True)
    labels, groups = shards.document_labels(), int(group.max()) + 1
    lowest, highest = np.full(groups, 255, np.uint8), np.zeros(groups, np.uint8)
    np.minimum.at(lowest, group, labels)
    np.maximum.at(highest, group, labels)
    return group, lowest, highest


def repeats(shards: Shards) -> dict[str, int]:
    """Return counts of documents with the kept text of another one."""
    group, lowest, highest = _by_text(shards)
    training = pools_of(shards).pools == list(SHARES).index("train")
    trained = np.zeros(len(lowest), bool)
    trained[group[training]] = True
    return {
        "repeated": len(group) - len(lowest),
        "shared": int((trained[group] & ~training).sum()),
        "contradictory": int((lowest != highest)[group].sum()),
    }


def require_something_to_forget(shards: Shards) -> None:
    """Raise a ValueError if no document is to be forgotten, or each is to be retained as well."""
    manifest = shards.manifest
    everything, forget = sum(manifest.documents.values()), manifest.documents["forget"]
    if not forget:
        kind, beyond = _kind(manifest), manifest.findings.get("beyond_cut", 0)
        why = ""
        if manifest.marks and not any(manifest.marks.values()):
            why = f", as none has one of the {kind}s {_names(manifest.marks)}"
        cut = f" (documents with one beyond the cut: {beyond:,}; a larger --context keeps it)"
        raise ValueError(
            f"no document of {everything:,} is labeled forget{why}: give others by "
            f"--{FLAGS[manifest.setting('labeler')['labeler']]}{cut if beyond else ''}"
        )
    if not manifest.findings.get("contradictory"):
        return
    group, lowest, _ = _by_text(shards)
    also = int((lowest[group][shards.document_labels() == FORGET] == RETAIN).sum())
    if also == forget:
        raise ValueError(
            f"every document to forget ({forget:,}) has the kept text of one to retain: label "
            "equal documents equally"
        )


FLAGS = {
    "keywords": "words",
    "tokens": "words",
    "words": "field",
    "field": "forget-values",
    "scores": "high",
    "list": "labels",
}
"""The flag by which each labeler selects what is to be forgotten."""


def sentences(manifest: Manifest) -> Iterator[str]:
    """Yield a line for each count above zero, and for labels that no document has."""
    for origin, number in manifest.origins.items():
        yield f"documents from {origin}: {number:,}"
    for label in ("forget", "retain"):
        if not manifest.documents[label]:
            everything = sum(manifest.documents.values())
            yield f"warning: documents labeled {label}: 0 of {everything:,}, and a study needs some"
    missing = [mark for mark, number in manifest.marks.items() if not number]
    words: Mapping[str, object] = {
        **manifest.findings,
        "context": manifest.setting("context"),
        "kind": _kind(manifest),
        "names": f" ({_names(missing)})" if missing else "",
    }
    for name, sentence in SENTENCES.items():
        if manifest.findings.get(name):
            yield sentence.format(**words)


def _names(marks: Collection[str]) -> str:
    """Return the first words or values in quotes."""
    return listed(map(repr, marks), NAMED)


def _kind(manifest: Manifest) -> str:
    """Return what the marks of a labeler are."""
    labeler = manifest.setting("labeler")["labeler"]
    return {"field": "value", "list": "id"}.get(labeler, "word")
