"""Labelers: rules that label a document, or each of its tokens, as retain, unlabeled or forget.

A labeler is made from the settings. It also returns which of its marks (words, values or ids)
a document has, so that marks of no document can be reported.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from lm.data.document import SURROGATE, Document, Ids, invisible, shortened
from lm.data.lines import parsed, read_text, suffix_of
from lm.data.matching import FORM, Words, folded, number_of, plain, value_form
from lm.data.records import required_value
from lm.training.route_tables import FORGET, LABELS, RETAIN, UNLABELED

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


Labels = NDArray[np.uint8]
K = TypeVar("K")

TREES = ("tree", "trees", "forest", "forests", "woodland", "woodlands")
"""The words that mark stories to forget in Cloud et al. 2024 (arXiv 2410.04332, section 4.2)."""

VIROLOGY = (
    *("COVID", " COVID", "RNA", " infections", "DNA", " genome", " virus", " gene", " viruses"),
    *(" mutations", " antibodies", " influenza", " bacteria", "PCR", " cell", " herpes"),
    *(" bacterial", " pathogens", " tumor", " vaccine"),
)
"""The 20 tokens that are routed in Cloud et al. 2024 (arXiv 2410.04332, appendix E)."""


Name = Literal["keywords", "tokens", "words", "field", "scores", "list"]
"""keywords: documents that contain one of `words`; tokens: each token that is one of `words`;
words: the tokens of the words in `field`; field, scores: by the value or the number in `field`;
list: by a file of labels."""
BY_TOKEN: tuple[Name, ...] = ("tokens", "words")
"""The labelers that label single tokens, and not whole documents."""

MarkKind = Literal["word", "value", "id"]


@dataclass(frozen=True, kw_only=True)
class Labeler:
    """Maps a document and its tokens to the label of each token."""

    label: Callable[[Document, Ids], Labels]
    marks_of: Callable[[Document, Ids], Iterable[str]] = lambda document, tokens: ()
    """Maps a document and its tokens to the marks that they have."""
    odd: Callable[[Document], Mapping[str, int]] = lambda document: {}
    """Maps a document to counts of what is odd about it (`lm.data.findings.SENTENCES`)."""
    kind: MarkKind = "word"
    """What the marks are."""
    marks: tuple[str, ...] = ()
    """All marks that the settings name."""
    counts: dict[str, int] = field(default_factory=dict)
    """Counts of what is odd about the marks as they were given."""
    lines: int | None = None
    """Number of labels of a list without ids, one for each record."""

    def __call__(self, document: Document, tokens: Ids) -> Labels:
        """Return the label of each token."""
        return self.label(document, tokens)


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
    for keywords, on virology for tokens. Keywords are compared without regard to case (casefold,
    NFC) and to zero-width characters; any white space matches a space, and any apostrophe or hyphen
    matches that of ASCII. Tokens are compared as they are."""
    field: str = "label"
    """Field of a record that holds the value, the number, the words, or the id in the list."""
    forget_values: tuple[str, ...] = ()
    """Values of the field that mark documents to forget. 1, 1.0, "1" and true are equal; text is
    compared in the form NFC, without zero-width characters."""
    retain_values: tuple[str, ...] = ()
    """Values of the field that mark documents to retain; documents with other values are unlabeled.
    By default, all other values mark documents to retain. Documents with an empty value are
    unlabeled."""
    low: float = 0.1
    """Number below which a document is labeled retain; between --low and --high it is unlabeled."""
    high: float = 0.9
    """Number above which a document is labeled forget."""
    labels: Path | None = None
    """File of labels: one line for each record, or a .json object of labels by id."""

    def __post_init__(self) -> None:
        self._require_used()
        if self.labeler == "field" and not self.forget_values:
            raise ValueError("the labeler `field` needs --forget-values: the values to forget")
        for given in (*self.words, *self.forget_values, *self.retain_values):
            if SURROGATE.search(given):
                raise ValueError(f"{given!r} was given, which is no text of UTF-8: give it anew")
        forms = {value_form(value) for value in self.retain_values}
        both = [value for value in self.forget_values if value_form(value) in forms]
        if both:
            raise ValueError(f"{sorted(both)} cannot be values to forget and to retain: give one")
        if self.labeler == "list" and self.labels is None:
            raise ValueError("the labeler `list` needs --labels: a file of labels")
        if self.labels is not None and not self.labels.is_file():
            raise ValueError(f"there is no file of labels {self.labels}: give one by --labels")
        if not self.low <= self.high:
            raise ValueError(
                f"low {self.low} and high {self.high} were given: give two numbers, the lower one "
                "first"
            )

    def _require_used(self) -> None:
        """Raise a ValueError if a setting was given that the labeler does not use."""
        for name, labelers in USED_BY.items():
            default = LabelerConfig.__dataclass_fields__[name].default
            if self.labeler not in labelers and getattr(self, name) != default:
                raise ValueError(
                    f"--{name.replace('_', '-')} was given, which the labeler {self.labeler} does "
                    f"not use: leave it out, or give --labeler {' or '.join(labelers)}"
                )


USED_BY: dict[str, tuple[Name, ...]] = {
    "words": ("keywords", "tokens"),
    "field": ("words", "field", "scores", "list"),
    "forget_values": ("field",),
    "retain_values": ("field",),
    "low": ("scores",),
    "high": ("scores",),
    "labels": ("list",),
}
"""The labelers that use each setting."""


def make_labeler(config: LabelerConfig, tokenizer: "PreTrainedTokenizerBase") -> Labeler:
    """Return the labeler that the settings choose.

    Raises:
        ValueError: if there are no words, no word is one token, or the list cannot be read.
    """
    return MAKERS[config.labeler](config, tokenizer)


def labeler_settings(config: LabelerConfig) -> dict[str, Any]:
    """Return the settings of a labeler as plain data, with its words and its list's checksum."""
    data = asdict(config) | {"words": list(_words(config)), "form_of_words": FORM}
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
    given = _words(config)
    words = [word.strip() for word in given if folded(word).strip()]
    marks = tuple(_first_of_each(words, folded).values())
    if not marks:
        raise ValueError("no words were given to label documents by: give --words")
    search = Words(marks)
    return Labeler(
        label=_by_document(lambda document: FORGET if search.match(document.text) else RETAIN),
        marks_of=lambda document, _: search.within(document.text),
        marks=marks,
        counts={
            "blank_marks": len(given) - len(words),
            "doubled_marks": len(words) - len(marks),
        },
    )


def by_token(config: LabelerConfig, tokenizer: "PreTrainedTokenizerBase") -> Labeler:
    """Label tokens forget that are one of the words, and all others retain.

    The official code of Cloud et al. 2024 does so for virology, with the tokens `VIROLOGY`: each
    token is routed by itself, and all other tokens teach everything, whatever their document.

    Raises:
        ValueError: if no word is a single token.
    """
    words = _words(config)
    composed = {word: _composed(word) for word in words}
    found = single_tokens((*words, *composed.values()), tokenizer)
    ids = {word: found[each] for word in words for each in (composed[word], word) if each in found}
    if not ids:
        raise ValueError(
            f"none of the words {words} is one token of this tokenizer: give others by --words, "
            "with the space that is before a word"
        )
    word_of = _first_of_each(ids, ids.__getitem__)
    chosen = list(word_of)
    return Labeler(
        label=lambda _, tokens: np.where(np.isin(tokens, chosen), FORGET, RETAIN).astype(np.uint8),
        marks_of=lambda _, tokens: [word_of[n] for n in set(tokens.tolist()) & set(chosen)],
        odd=lambda document: {"other_forms": int(_has_another_form(document.text, composed))},
        marks=tuple(word_of.values()),
        counts={
            "words_of_several_tokens": len(set(words)) - len(ids),
            "doubled_marks": len(words) - len(set(words)) + len(ids) - len(word_of),
        },
    )


def _composed(text: str) -> str:
    """Return a text composed (NFC), and without zero-width characters."""
    return text if text.isascii() else normalize("NFC", invisible().sub("", text))


def _has_another_form(text: str, words: Mapping[str, str]) -> bool:
    """Return whether a text has one of the words, given composed, in other characters only."""
    composed = _composed(text)
    return any(word in composed and word not in text for word in words.values())


def by_named_words(config: LabelerConfig, tokenizer: "PreTrainedTokenizerBase") -> Labeler:
    """Label the tokens of the words that a field names, wherever a text has them, forget.

    All other tokens are labeled retain, and so are those of documents whose field is empty. Words
    are compared as they are, and not found inside of others.
    """

    def places(document: Document) -> list[tuple[int, int]]:
        words = _named_words(document, config.field)
        if not words:
            return []
        found = re.finditer(rf"(?<!\w){re.escape(words)}(?!\w)", document.text)
        return [match.span() for match in found]

    def label(document: Document, tokens: Ids) -> Labels:
        labels = np.full(len(tokens), RETAIN, np.uint8)
        if named := places(document):
            offsets = _offsets(tokenizer, document)[: len(tokens)]
            for start, end in named:
                labels[: len(offsets)][(offsets[:, 0] < end) & (offsets[:, 1] > start)] = FORGET
        return labels

    def odd(document: Document) -> dict[str, int]:
        named = bool(_named_words(document, config.field))
        return {"missing_words": int(named and not places(document))}

    return Labeler(label=label, odd=odd)


def _named_words(document: Document, field: str) -> str:
    words = _value(document, field)
    if words is not None and not isinstance(words, str):
        raise ValueError(
            f"document {document.number} has {shortened(words)} in its field {field!r}: give the "
            "words to forget as they stand in the text"
        )
    return (words or "").strip()


def _offsets(tokenizer: "PreTrainedTokenizerBase", document: Document) -> NDArray[np.int64]:
    """Return the first and the last place of each token in the text of a document, [t, 2]."""
    encoded = tokenizer(
        document.text,
        add_special_tokens=False,
        split_special_tokens=document.messages is None,
        return_offsets_mapping=True,
        verbose=False,
    )
    return np.array(encoded["offset_mapping"], np.int64).reshape(-1, 2)


def by_value(config: LabelerConfig, _: "PreTrainedTokenizerBase") -> Labeler:
    """Label documents by the value of a field.

    Values to neither forget nor retain are unlabeled, or retain if no value to retain is given.
    An empty value is unlabeled, unless it is given as one to forget or to retain.
    """
    given = (*config.forget_values, *config.retain_values)
    by_form = _first_of_each(given, value_form)
    forget, retain = (
        {value_form(value) for value in values}
        for values in (config.forget_values, config.retain_values)
    )

    def rule(document: Document) -> int:
        form = _value_form(document, config.field)
        if form in forget:
            return FORGET
        if form in retain:
            return RETAIN
        return RETAIN if form and not retain else UNLABELED

    def marks_of(document: Document, _: Ids) -> list[str]:
        form = _value_form(document, config.field)
        return [by_form[form]] if form in by_form else []

    caseless = {form.casefold() for form in by_form}

    def odd(document: Document) -> dict[str, int]:
        form = _value_form(document, config.field)
        other_case = form not in by_form and form.casefold() in caseless
        return {"empty_values": int(not form), "other_case": int(other_case)}

    return Labeler(
        label=_by_document(rule),
        marks_of=marks_of,
        odd=odd,
        kind="value",
        marks=tuple(by_form.values()),
        counts={"doubled_marks": len(given) - len(by_form)},
    )


def by_score(config: LabelerConfig, _: "PreTrainedTokenizerBase") -> Labeler:
    """Label documents by a classifier's score, such as the probability of a topic.

    They are labeled forget above the upper threshold, retain below the lower one, and unlabeled
    between.
    """

    def rule(document: Document) -> int:
        given = _value(document, config.field)
        score = number_of(given)
        if score is None:
            raise ValueError(
                f"document {document.number} has the score {shortened(given)} in its field "
                f"{config.field!r}: give a number"
            )
        if score > config.high:
            return FORGET
        return RETAIN if score < config.low else UNLABELED

    return Labeler(label=_by_document(rule))


def by_list(config: LabelerConfig, _: "PreTrainedTokenizerBase") -> Labeler:
    """Label documents by a file: one label for each record, or labels by the value of a field.

    Raises:
        ValueError: if the file cannot be read, or an id has two labels.
    """
    assert config.labels is not None  # the settings refuse it
    if suffix_of(config.labels) == ".json":
        return _by_id(config.labels, config.field)
    labels = read_labels(config.labels)

    def rule(document: Document) -> int:
        if document.number < len(labels):
            return labels[document.number]
        raise ValueError(
            f"there are {len(labels)} labels, and none for document {document.number}: give one "
            "for each record of the source"
        )

    return Labeler(label=_by_document(rule), lines=len(labels))


def _by_id(path: Path, field: str) -> Labeler:
    """Return a labeler by the labels of ids; an id is found as it is written, or by its value."""
    named, doubled = read_named_labels(path)
    forms = Counter(map(value_form, named))
    by_form = {value_form(name): name for name in named if forms[value_form(name)] == 1}

    def name_of(document: Document) -> str:
        value, form = _value(document, field), _value_form(document, field)
        name = value if value in named else by_form.get(form)
        if isinstance(name, str):
            return name
        raise ValueError(f"the labels lack document {shortened(value)}: add it")

    return Labeler(
        label=_by_document(lambda document: named[name_of(document)]),
        marks_of=lambda document, _: [name_of(document)],
        kind="id",
        marks=tuple(named),
        counts={"doubled_marks": doubled},
    )


def read_labels(path: Path) -> list[int]:
    """Return the labels of a file with one on each line.

    Raises:
        ValueError: if the file cannot be read, or a label is unknown.
    """
    lines = read_text(path).splitlines()
    return [_number(plain(line), f"{path}, line {n}") for n, line in enumerate(lines, 1)]


def read_named_labels(path: Path) -> tuple[dict[str, int], int]:
    """Return the labels of a .json object by id, and how many ids are there twice.

    Raises:
        ValueError: if the file cannot be read, a label is unknown, or an id has two labels.
    """
    pairs = parsed(read_text(path), str(path), tuple)
    if not isinstance(pairs, tuple):
        raise ValueError(f"{path} holds {type(pairs).__name__}: give an object of labels by id")
    labels: dict[str, int] = {}
    for name, label in pairs:
        number = _number(label, f"{path}: {name}")
        if labels.setdefault(name, number) != number:
            raise ValueError(f"{path}: {name} has two labels: give it one")
    return labels, len(pairs) - len(labels)


def _number(label: object, where: str) -> int:
    if label not in LABELS:
        raise ValueError(f"{where} is {shortened(label)}: give one of {', '.join(LABELS)}")
    return LABELS.index(str(label))


def _words(config: LabelerConfig) -> tuple[str, ...]:
    return config.words or DEFAULT_WORDS.get(config.labeler, ())


def _first_of_each(words: Iterable[str], form: Callable[[str], K]) -> dict[K, str]:
    """Return the first word of each form."""
    found: dict[K, str] = {}
    for word in words:
        found.setdefault(form(word), word)
    return found


def _by_document(rule: Callable[[Document], int]) -> Callable[[Document, Ids], Labels]:
    """Return a function that gives all tokens of a document the label of a rule."""
    return lambda document, tokens: np.full(len(tokens), rule(document), np.uint8)


def _value(document: Document, field: str) -> Any:  # noqa: ANN401
    return required_value(document.fields, field, f"document {document.number}", "--field")


def _value_form(document: Document, field: str) -> str:
    """Return the value of a field in the form in which values are compared."""
    try:
        return value_form(_value(document, field))
    except TypeError as error:
        raise ValueError(f"document {document.number} in its field {field!r}: {error}") from error


MAKERS: dict[Name, Callable[[LabelerConfig, "PreTrainedTokenizerBase"], Labeler]] = {
    "keywords": by_words,
    "tokens": by_token,
    "words": by_named_words,
    "field": by_value,
    "scores": by_score,
    "list": by_list,
}
"""The labelers by name."""

DEFAULT_WORDS: dict[Name, tuple[str, ...]] = {"keywords": TREES, "tokens": VIROLOGY}
"""Default words of the labelers that use words."""
