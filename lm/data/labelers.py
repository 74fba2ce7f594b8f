"""Labelers: what a learner is told of a document, or of each of its tokens, by a simple rule."""

import re
from collections.abc import Collection, Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lm.data.document import Document
from lm.data.vocabulary import Ids
from lm.training.routes import FORGET, LABELS, RETAIN, UNLABELLED
from oversight.record import read_json

Labels = NDArray[np.uint8]

TREES = ("tree", "trees", "forest", "forests", "woodland", "woodlands")
"""Words of stories to forget in Cloud et al. 2024 (arXiv 2410.04332, section 4.2)."""

VIROLOGY = (
    *("COVID", " COVID", "RNA", " infections", "DNA", " genome", " virus", " gene", " viruses"),
    *(" mutations", " antibodies", " influenza", " bacteria", "PCR", " cell", " herpes"),
    *(" bacterial", " pathogens", " tumor", " vaccine"),
)
"""The 20 tokens that are routed in Cloud et al. 2024 (arXiv 2410.04332, appendix E)."""


def words_pattern(words: Sequence[str]) -> re.Pattern[str]:
    """Return what finds any of some words, whole, in any case.

    Raises:
        ValueError: if there is no word.

    >>> [bool(words_pattern(TREES).search(text)) for text in ("A Tree!", "a street")]
    [True, False]
    """
    if not any(word.strip() for word in words):
        raise ValueError("no words were given to label documents by: give --words")
    alternatives = "|".join(re.escape(word.strip()) for word in words if word.strip())
    return re.compile(rf"(?<!\w)(?:{alternatives})(?!\w)", re.IGNORECASE)


def by_words(document: Document, pattern: re.Pattern[str]) -> int:
    """Return `FORGET` for a document that has one of the words, else `RETAIN`."""
    return FORGET if pattern.search(document.text) else RETAIN


def by_value(
    document: Document, field: str, forget: Collection[str], retain: Collection[str]
) -> int:
    """Return the label of the value that a document has in a field.

    Values of neither collection are `UNLABELLED`, or `RETAIN` if none is named to retain.

    Raises:
        ValueError: if the document lacks the field.
    """
    value = str(_value(document, field))
    if value in forget:
        return FORGET
    return RETAIN if value in retain or not retain else UNLABELLED


def by_score(document: Document, field: str, low: float, high: float) -> int:
    """Return the label of a classifier's score, such as a topic's probability.

    `FORGET` above the upper threshold, `RETAIN` below the lower one, `UNLABELLED` between.

    Raises:
        ValueError: if the document has no number in the field.
    """
    score = _value(document, field)
    if isinstance(score, bool) or not isinstance(score, int | float) or isnan(score):
        raise ValueError(
            f"document {document.number} has the score {score!r} in its field {field!r}: give a "
            "number"
        )
    if score > high:
        return FORGET
    return RETAIN if score < low else UNLABELLED


def by_list(document: Document, labels: Sequence[int] | Mapping[str, int], field: str) -> int:
    """Return the label that a user's list has for a document.

    Args:
        document: what to label.
        labels: one for each record of the source, or by the value of a field.
        field: which one.

    Raises:
        ValueError: if the list lacks the document.
    """
    if isinstance(labels, Mapping):
        value = str(_value(document, field))
        if value in labels:
            return labels[value]
        raise ValueError(f"the labels lack document {value!r}: add it")
    if document.number < len(labels):
        return labels[document.number]
    raise ValueError(
        f"there are {len(labels)} labels, and none for document {document.number}: give one for "
        "each record of the source"
    )


def by_token(tokens: Ids, chosen: Ids) -> Labels:
    """Return `FORGET` for the tokens that are chosen, and `RETAIN` for all others.

    So does the official code of Cloud et al. 2024 for virology: with `VIROLOGY` chosen, each token
    is routed by itself, and all others teach everything whatever document they are in.
    """
    return np.where(np.isin(tokens, chosen), FORGET, RETAIN).astype(np.uint8)


def read_labels(path: Path) -> list[int] | dict[str, int]:
    """Return a user's labels: from a .json object by id, or from any other file one for each line.

    Raises:
        ValueError: if the file is missing, or a label unknown.
    """
    if path.suffix == ".json":
        named = read_json(path)
        return {name: _number(label, f"{path}: {name}") for name, label in named.items()}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as labels ({error}): give a text file") from error
    return [_number(line.strip(), f"{path}, line {n}") for n, line in enumerate(lines, 1)]


def _number(label: object, where: str) -> int:
    if label not in LABELS:
        raise ValueError(f"{where} is {label!r}: give one of {', '.join(LABELS)}")
    return LABELS.index(str(label))


def _value(document: Document, field: str) -> Any:  # noqa: ANN401
    if field not in document.fields:
        raise ValueError(
            f"document {document.number} has no field {field!r}, only "
            f"{', '.join(map(str, document.fields))}: name another by --field"
        )
    return document.fields[field]
