"""Labels by a labeler that is chosen by name: settings in, labels of tokens out."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lm.data.document import Document
from lm.data.labelers import (
    TREES,
    VIROLOGY,
    Labels,
    by_list,
    by_score,
    by_token,
    by_value,
    by_words,
    read_labels,
    words_pattern,
)
from lm.data.vocabulary import Ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Name = Literal["keywords", "tokens", "field", "scores", "list"]
"""keywords: documents that have one of `words`; tokens: those of `words` that are one token, each
by itself; field, scores: by the value or the number in `field`; list: by a user's file."""

Labeler = Callable[[Document, Ids], Labels]
"""Returns the label of each token of a document."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelerConfig:
    """How documents are labelled.

    Raises:
        ValueError: if what the labeler needs is missing, or the thresholds are in disorder.
    """

    labeler: Name = "keywords"
    words: tuple[str, ...] = ()
    """by default `TREES` for keywords and `VIROLOGY` for tokens"""
    field: str = "label"
    """where a record has the value, the score, or the id by which the list names it"""
    forget_values: tuple[str, ...] = ()
    retain_values: tuple[str, ...] = ()
    low: float = 0.1
    high: float = 0.9
    labels: Path | None = None
    """the list"""

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
    """Return the labeler of its settings.

    Raises:
        ValueError: if it has no words, no word is one token, or its list cannot be read.
    """
    return MAKERS[config.labeler](config, tokenizer)


def described(config: LabelerConfig) -> dict[str, Any]:
    """Return the settings of a labeler as plain data, its words and list's checksum among them."""
    data = asdict(config) | {"words": list(_words(config))}
    if config.labels is not None:
        data["labels_checksum"] = hashlib.sha256(config.labels.read_bytes()).hexdigest()
    return data


def single_tokens(words: tuple[str, ...], tokenizer: "PreTrainedTokenizerBase") -> dict[str, int]:
    """Return the ids of the words that are one token each; a space before a word is part of it."""
    ids = tokenizer(list(words), add_special_tokens=False)["input_ids"]
    return {word: own[0] for word, own in zip(words, ids, strict=True) if len(own) == 1}


def _words(config: LabelerConfig) -> tuple[str, ...]:
    return config.words or DEFAULT_WORDS.get(config.labeler, ())


def _whole(rule: Callable[[Document], int]) -> Labeler:
    """Give all tokens of a document its label."""
    return lambda document, tokens: np.full(len(tokens), rule(document), np.uint8)


def _keywords(config: LabelerConfig, _: "PreTrainedTokenizerBase") -> Labeler:
    pattern = words_pattern(_words(config))
    return _whole(lambda document: by_words(document, pattern))


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
    return _whole(lambda document: by_value(document, config.field, forget, retain))


def _scores(config: LabelerConfig, _: "PreTrainedTokenizerBase") -> Labeler:
    return _whole(lambda document: by_score(document, config.field, config.low, config.high))


def _list(config: LabelerConfig, _: "PreTrainedTokenizerBase") -> Labeler:
    assert config.labels is not None  # the settings refuse it
    labels = read_labels(config.labels)
    return _whole(lambda document: by_list(document, labels, config.field))


MAKERS: dict[Name, Callable[[LabelerConfig, "PreTrainedTokenizerBase"], Labeler]] = {
    "keywords": _keywords,
    "tokens": _tokens,
    "field": _field,
    "scores": _scores,
    "list": _list,
}
"""What makes the labeler of each name."""

DEFAULT_WORDS: dict[Name, tuple[str, ...]] = {"keywords": TREES, "tokens": VIROLOGY}
"""Words of the labelers that have some."""
