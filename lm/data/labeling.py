"""Labelers: rules that label a document, or each of its tokens, as retain, unlabeled or forget.

The rules come first, then the settings that choose a labeler by name.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from lm.data.document import Document, Ids
from lm.training.route_tables import FORGET, LABELS, RETAIN, UNLABELED
from oversight.runs.folder import read_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


Labels = NDArray[np.uint8]

TREES = ("tree", "trees", "forest", "forests", "woodland", "woodlands")
"""The words that mark stories to forget in Cloud et al. 2024 (arXiv 2410.04332, section 4.2)."""

VIROLOGY = (
    *("COVID", " COVID", "RNA", " infections", "DNA", " genome", " virus", " gene", " viruses"),
    *(" mutations", " antibodies", " influenza", " bacteria", "PCR", " cell", " herpes"),
    *(" bacterial", " pathogens", " tumor", " vaccine"),
)
"""The 20 tokens that are routed in Cloud et al. 2024 (arXiv 2410.04332, appendix E)."""


def words_pattern(words: Sequence[str]) -> re.Pattern[str]:
    """Return a pattern that matches any of some words, as whole words in any case.

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
    """Return `FORGET` for a document that contains one of the words, else `RETAIN`."""
    return FORGET if pattern.search(document.text) else RETAIN


def by_value(
    document: Document, field: str, forget: Collection[str], retain: Collection[str]
) -> int:
    """Return the label of a document by the value of a field.

    Values in neither collection are `UNLABELED`, or `RETAIN` if no value to retain is given.

    Raises:
        ValueError: if the document lacks the field.
    """
    value = str(_value(document, field))
    if value in forget:
        return FORGET
    return RETAIN if value in retain or not retain else UNLABELED


def by_score(document: Document, field: str, low: float, high: float) -> int:
    """Return the label of a document by a classifier's score, such as the probability of a topic.

    It is `FORGET` above the upper threshold, `RETAIN` below the lower one, `UNLABELED` between.

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
    return RETAIN if score < low else UNLABELED


def by_list(document: Document, labels: Sequence[int] | Mapping[str, int], field: str) -> int:
    """Return the label of a document from a list of labels.

    Args:
        document: the document to label.
        labels: one label for each record of the source, or labels by the value of a field.
        field: the field.

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
    """Return `FORGET` for the chosen tokens, and `RETAIN` for all others.

    The official code of Cloud et al. 2024 does so for virology, with the tokens `VIROLOGY`: each
    token is routed by itself, and all other tokens teach everything, whatever their document.
    """
    return np.where(np.isin(tokens, chosen), FORGET, RETAIN).astype(np.uint8)


def read_labels(path: Path) -> list[int] | dict[str, int]:
    """Return the labels of a file: by id from a .json object, or one for each line of another file.

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


Name = Literal["keywords", "tokens", "field", "scores", "list"]
"""keywords: documents that contain one of `words`; tokens: each token that is one of `words`;
field, scores: by the value or the number in `field`; list: by a file of labels."""

Labeler = Callable[[Document, Ids], Labels]
"""Maps a document and its tokens to the label of each token."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelerConfig:
    """How documents are labeled.

    Raises:
        ValueError: if a setting that the labeler needs is missing, or low is above high.
    """

    labeler: Name = "keywords"
    words: tuple[str, ...] = ()
    """words of the labelers keywords, by default `TREES`, and tokens, by default `VIROLOGY`"""
    field: str = "label"
    """field of a record that holds the value, the score, or the id in the list"""
    forget_values: tuple[str, ...] = ()
    retain_values: tuple[str, ...] = ()
    low: float = 0.1
    high: float = 0.9
    labels: Path | None = None
    """file of labels"""

    def __post_init__(self) -> None:
        if self.labeler == "field" and not self.forget_values:
            raise ValueError("the labeler `field` needs --forget-values: the values to forget")
        both = set(self.forget_values) & set(self.retain_values)
        if both:
            raise ValueError(f"{sorted(both)} cannot be values to forget and to retain: give one")
        if self.labeler == "list" and self.labels is None:
            raise ValueError("the labeler `list` needs --labels: a file of labels")
        if self.labels is not None and not self.labels.is_file():
            raise ValueError(f"there is no file of labels {self.labels}: give one by --labels")
        if not self.low <= self.high:
            raise ValueError(f"low {self.low} and high {self.high} were given: high is below low")


def make_labeler(config: LabelerConfig, tokenizer: "PreTrainedTokenizerBase") -> Labeler:
    """Return the labeler that the settings choose.

    Raises:
        ValueError: if there are no words, no word is one token, or the list cannot be read.
    """
    return MAKERS[config.labeler](config, tokenizer)


def labeler_settings(config: LabelerConfig) -> dict[str, Any]:
    """Return the settings of a labeler as plain data, with its words and its list's checksum."""
    data = asdict(config) | {"words": list(_words(config))}
    if config.labels is not None:
        data["labels_checksum"] = hashlib.sha256(config.labels.read_bytes()).hexdigest()
    return data


def single_tokens(words: tuple[str, ...], tokenizer: "PreTrainedTokenizerBase") -> dict[str, int]:
    """Return the ids of the words that are a single token; a leading space is part of a word."""
    ids = tokenizer(list(words), add_special_tokens=False)["input_ids"]
    return {word: own[0] for word, own in zip(words, ids, strict=True) if len(own) == 1}


def _words(config: LabelerConfig) -> tuple[str, ...]:
    return config.words or DEFAULT_WORDS.get(config.labeler, ())


def _by_document(rule: Callable[[Document], int]) -> Labeler:
    """Return a labeler that gives all tokens of a document the label of a rule."""
    return lambda document, tokens: np.full(len(tokens), rule(document), np.uint8)


def _keywords(config: LabelerConfig, _: "PreTrainedTokenizerBase") -> Labeler:
    pattern = words_pattern(_words(config))
    return _by_document(lambda document: by_words(document, pattern))


def _tokens(config: LabelerConfig, tokenizer: "PreTrainedTokenizerBase") -> Labeler:
    words = _words(config)
    found = single_tokens(words, tokenizer)
    if not found:
        raise ValueError(
            f"none of the words {words} is one token of this tokenizer: give others by --words, "
            "with the space that is before a word"
        )
    chosen = np.array(list(found.values()))
    return lambda _, tokens: by_token(tokens, chosen)


def _field(config: LabelerConfig, _: "PreTrainedTokenizerBase") -> Labeler:
    forget, retain = set(config.forget_values), set(config.retain_values)
    return _by_document(lambda document: by_value(document, config.field, forget, retain))


def _scores(config: LabelerConfig, _: "PreTrainedTokenizerBase") -> Labeler:
    return _by_document(lambda document: by_score(document, config.field, config.low, config.high))


def _list(config: LabelerConfig, _: "PreTrainedTokenizerBase") -> Labeler:
    assert config.labels is not None  # the settings refuse it
    labels = read_labels(config.labels)
    return _by_document(lambda document: by_list(document, labels, config.field))


MAKERS: dict[Name, Callable[[LabelerConfig, "PreTrainedTokenizerBase"], Labeler]] = {
    "keywords": _keywords,
    "tokens": _tokens,
    "field": _field,
    "scores": _scores,
    "list": _list,
}
"""Factories of the labelers, by name."""

DEFAULT_WORDS: dict[Name, tuple[str, ...]] = {"keywords": TREES, "tokens": VIROLOGY}
"""Default words of the labelers that use words."""
