"""Labelers: rules that label a document, or each of its tokens, as retain, unlabeled or forget.

A labeler is a function of a document and its tokens, made from the settings.
"""

import hashlib
import re
from collections.abc import Callable
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
    """How documents or tokens are labeled."""
    words: tuple[str, ...] = ()
    """Words for the labelers keywords and tokens; by default those of Cloud et al. 2024: on trees
    for keywords, on virology for tokens."""
    field: str = "label"
    """Field of a record that holds the value, the number, or the id in the list."""
    forget_values: tuple[str, ...] = ()
    """Values of the field that mark documents to forget."""
    retain_values: tuple[str, ...] = ()
    """Values of the field that mark documents to retain, others being unlabeled; by default, all
    other values mark documents to retain."""
    low: float = 0.1
    """Number below which a document is labeled retain; between --low and --high it is unlabeled."""
    high: float = 0.9
    """Number above which a document is labeled forget."""
    labels: Path | None = None
    """File of labels: one line for each record, or a .json object of labels by id."""

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


def by_words(config: LabelerConfig, _: "PreTrainedTokenizerBase") -> Labeler:
    """Label documents forget that contain one of the words, as a whole word in any case.

    Raises:
        ValueError: if there is no word.
    """
    words = [word.strip() for word in _words(config) if word.strip()]
    if not words:
        raise ValueError("no words were given to label documents by: give --words")
    alternatives = "|".join(map(re.escape, words))
    pattern = re.compile(rf"(?<!\w)(?:{alternatives})(?!\w)", re.IGNORECASE)
    return _by_document(lambda document: FORGET if pattern.search(document.text) else RETAIN)


def by_token(config: LabelerConfig, tokenizer: "PreTrainedTokenizerBase") -> Labeler:
    """Label tokens forget that are one of the words, and all others retain.

    The official code of Cloud et al. 2024 does so for virology, with the tokens `VIROLOGY`: each
    token is routed by itself, and all other tokens teach everything, whatever their document.

    Raises:
        ValueError: if no word is a single token.
    """
    words = _words(config)
    chosen = list(single_tokens(words, tokenizer).values())
    if not chosen:
        raise ValueError(
            f"none of the words {words} is one token of this tokenizer: give others by --words, "
            "with the space that is before a word"
        )
    return lambda _, tokens: np.where(np.isin(tokens, chosen), FORGET, RETAIN).astype(np.uint8)


def by_value(config: LabelerConfig, _: "PreTrainedTokenizerBase") -> Labeler:
    """Label documents by the value of a field.

    Values to neither forget nor retain are unlabeled, or retain if no value to retain is given.
    """

    def rule(document: Document) -> int:
        value = str(_value(document, config.field))
        if value in config.forget_values:
            return FORGET
        return RETAIN if value in config.retain_values or not config.retain_values else UNLABELED

    return _by_document(rule)


def by_score(config: LabelerConfig, _: "PreTrainedTokenizerBase") -> Labeler:
    """Label documents by a classifier's score, such as the probability of a topic.

    They are labeled forget above the upper threshold, retain below the lower one, and unlabeled
    between.
    """

    def rule(document: Document) -> int:
        score = _value(document, config.field)
        if isinstance(score, bool) or not isinstance(score, int | float) or isnan(score):
            raise ValueError(
                f"document {document.number} has the score {score!r} in its field "
                f"{config.field!r}: give a number"
            )
        if score > config.high:
            return FORGET
        return RETAIN if score < config.low else UNLABELED

    return _by_document(rule)


def by_list(config: LabelerConfig, _: "PreTrainedTokenizerBase") -> Labeler:
    """Label documents by a file: one label for each record, or labels by the value of a field.

    Raises:
        ValueError: if the file cannot be read.
    """
    assert config.labels is not None  # the settings refuse it
    labels = read_labels(config.labels)

    def rule(document: Document) -> int:
        if isinstance(labels, dict):
            value = str(_value(document, config.field))
            if value in labels:
                return labels[value]
            raise ValueError(f"the labels lack document {value!r}: add it")
        if document.number < len(labels):
            return labels[document.number]
        raise ValueError(
            f"there are {len(labels)} labels, and none for document {document.number}: give one "
            "for each record of the source"
        )

    return _by_document(rule)


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


def _words(config: LabelerConfig) -> tuple[str, ...]:
    return config.words or DEFAULT_WORDS.get(config.labeler, ())


def _by_document(rule: Callable[[Document], int]) -> Labeler:
    """Return a labeler that gives all tokens of a document the label of a rule."""
    return lambda document, tokens: np.full(len(tokens), rule(document), np.uint8)


def _value(document: Document, field: str) -> Any:  # noqa: ANN401
    if field not in document.fields:
        raise ValueError(
            f"document {document.number} has no field {field!r}, only "
            f"{', '.join(map(str, document.fields))}: name another by --field"
        )
    return document.fields[field]


MAKERS: dict[Name, Callable[[LabelerConfig, "PreTrainedTokenizerBase"], Labeler]] = {
    "keywords": by_words,
    "tokens": by_token,
    "field": by_value,
    "scores": by_score,
    "list": by_list,
}
"""The labelers by name."""

DEFAULT_WORDS: dict[Name, tuple[str, ...]] = {"keywords": TREES, "tokens": VIROLOGY}
"""Default words of the labelers that use words."""
