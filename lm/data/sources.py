"""Where documents come from: data sets of the Hugging Face hub, which are streamed, and files."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lm.data.document import Document, Located, is_blank, shortened
from lm.data.files import (
    SEPARATORS,
    TextSplit,
    checksums,
    files_at,
    has_known_suffix,
    read_records,
    skipped_files,
)
from lm.data.findings import SENTENCES
from lm.data.lines import suffix_of
from lm.data.manual_pages import find_program, is_page
from lm.data.records import TEXT, ChatTemplate, documents_of, required_value
from lm.models.hf_loading import first_line, is_gated

if TYPE_CHECKING:
    from datasets import IterableDataset
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True, slots=True)
class Hub:
    """A data set of the hub."""

    dataset: str
    subset: str | None = None
    """Configuration of the data set, where it has several."""
    split: str = "train"
    field: str = TEXT
    """Field of a record that holds the text."""
    gated: bool = False
    """Whether access must be requested."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Files:
    """A file, or a folder of files.

    Raises:
        ValueError: if a separator is blank or of several lines, or there is none to divide by.
    """

    path: Path
    field: str = TEXT
    """Field of a record that holds the text."""
    text_split: TextSplit = "auto"
    """What ends a document of a .txt file."""
    separators: tuple[str, ...] = SEPARATORS
    """Tokens that end a document of a .txt file."""

    def __post_init__(self) -> None:
        odd = [each for each in self.separators if not each.strip() or len(each.splitlines()) > 1]
        if odd or (self.text_split == "separators" and not self.separators):
            raise ValueError(
                f"separators {self.separators} were given: give one or more, each visible and "
                "within a line"
            )


LIST, WORDS = "list", "words"
"""The fields of a document of `Lists`: the name of its list, `forget` or `retain`, and the words of
its text that are to be forgotten, if those are named."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lists:
    """Files or folders of documents to forget, and others of documents to retain."""

    forget: tuple[Path, ...]
    retain: tuple[Path, ...]
    field: str = TEXT
    """Field of a record that holds the text."""
    words: str | None = None
    """Field of a record to forget that holds the words of its text to forget; None for all."""


def _hub_records(source: Hub, first: int) -> Iterator[Located]:
    stream = _opened(source).skip(first)
    number = first
    try:
        for record in stream:
            yield Located(f"{source.dataset}, record {number}", record, source.dataset)
            number += 1
    except Exception as error:  # a network and its files raise errors of many kinds
        raise ValueError(
            f"{source.dataset} cannot be read beyond record {number} ({first_line(error)}): check "
            "the network, and run the same command again to resume"
        ) from error


def _opened(source: Hub) -> "IterableDataset":
    try:
        from datasets import load_dataset  # noqa: PLC0415 (it needs the extra)
    except ImportError as error:
        raise ValueError(
            f"reading {source.dataset} needs the package `datasets`: pip install -e '.[hf]'"
        ) from error
    try:
        return load_dataset(source.dataset, source.subset, split=source.split, streaming=True)
    except Exception as error:
        raise ValueError(_refusal(source, error)) from error


def _refusal(source: Hub, error: Exception) -> str:
    """Return an error message with instructions for a data set that cannot be opened."""
    name, said = source.dataset, first_line(error)
    if is_gated(error) or "gated" in said:
        return (
            f"{name} is open only to users who asked for it: request access on "
            f"https://huggingface.co/datasets/{name}, then log in by `hf auth login`"
        )
    if isinstance(error, ConnectionError):
        return f"{name} cannot be read, as the hub is out of reach ({said}): check the network"
    hint = "request access on its page, and log in" if source.gated else "if private, log in"
    return (
        f"{name} cannot be read ({said}): check the name, --subset and --split; {hint} by "
        "`hf auth login`"
    )


WMDP = "cais/wmdp-corpora"

SOURCES = {
    "fineweb-edu": Hub(dataset="HuggingFaceFW/fineweb-edu", subset="sample-10BT"),
    "tinystories": Hub(dataset="roneneldan/TinyStories"),
    "wikitext": Hub(dataset="Salesforce/wikitext", subset="wikitext-103-raw-v1"),
    "wmdp-bio-forget": Hub(dataset="cais/wmdp-bio-forget-corpus", gated=True),
    "wmdp-bio-retain": Hub(dataset=WMDP, subset="bio-retain-corpus"),
    "wmdp-cyber-forget": Hub(dataset=WMDP, subset="cyber-forget-corpus"),
    "wmdp-cyber-retain": Hub(dataset=WMDP, subset="cyber-retain-corpus"),
}
"""Data sets of the hub by short name."""


def find_source(
    data: str,
    subset: str | None = None,
    split: str | None = None,
    field: str | None = None,
    text_split: TextSplit = "auto",
    separators: tuple[str, ...] = SEPARATORS,
) -> Hub | Files:
    """Return the source of a name of `SOURCES`, a name on the hub, or a path.

    An existing path takes precedence.

    Raises:
        ValueError: if there is no such file, the name is malformed, a path is given a subset or
            split, or `text_split` is given for a source without .txt files.

    >>> find_source("tinystories", split="validation").split
    'validation'
    """
    path = Path(data)
    own = {"subset": subset, "split": split, "field": field}
    given: dict[str, Any] = {name: value for name, value in own.items() if value is not None}
    # an empty path would be the current folder
    if data and (path.exists() or has_known_suffix(path) or data.startswith((".", "/"))):
        if {"subset", "split"} & set(given):
            raise ValueError(f"{data} is a path, and files have no subset or split: leave both out")
        texts = any(suffix_of(each) == ".txt" for each in files_at(path))
        _require_texts(data, texts, text_split)
        return Files(path=path, text_split=text_split, separators=separators, **given)
    if data not in SOURCES and not re.fullmatch(r"[\w.-]+/[\w.-]+", data):
        raise ValueError(
            f"{shortened(data)} is no file or folder, nor a data set: choose from "
            f"{', '.join(SOURCES)}, or give OWNER/NAME of one on the hub"
        )
    _require_texts(data, False, text_split)
    return replace(SOURCES[data], **given) if data in SOURCES else Hub(dataset=data, **given)


def _require_texts(data: str, texts: bool, text_split: TextSplit) -> None:
    if text_split != "auto" and not texts:
        raise ValueError(
            f"{data} has no .txt file, and text_split {text_split!r} was given: leave it out"
        )


def documents(
    source: Hub | Files | Lists, first: int = 0, chat: ChatTemplate | None = None
) -> Iterator[Document]:
    """Yield the documents of a source from record `first` on, also those with blank text.

    Files in a folder are read in the order of their names, manual pages first, and those with other
    suffixes skipped.

    Args:
        source: the data set, file, folder, or both lists of files.
        first: number of the first record of which the document is returned.
        chat: makes texts of conversations, which are refused without it.

    Raises:
        ValueError: if there is no such file or data set, it needs a login, the hub is out of reach,
            the package `datasets` is not installed, or a record is malformed.
    """
    if isinstance(source, Hub):
        return documents_of(_hub_records(source, first), source.field, first, chat)
    if isinstance(source, Lists):
        return _listed(source, first, chat)
    records = read_records(source.path, source.field, source.text_split, source.separators)
    return documents_of(records, source.field, chat=chat, skip=first)


def _listed(source: Lists, first: int, chat: ChatTemplate | None) -> Iterator[Document]:
    """Yield the documents of both lists, with the fields `LIST` and `WORDS` alone.

    Raises:
        ValueError: if a document to forget lacks the field of words to forget.
    """
    number = 0
    for name, paths in (("forget", source.forget), ("retain", source.retain)):
        words = source.words if name == "forget" else None
        for document in documents_of(read_records(paths, source.field), source.field, chat=chat):
            if number >= first:
                fields = {LIST: name, WORDS: "" if words is None else _words(document, words)}
                yield document._replace(number=number, fields=fields)
            number += 1


def _words(document: Document, field: str) -> Any:  # noqa: ANN401
    owner = f"text {document.number} to forget"
    return required_value(document.fields, field, owner, "--forget-field")


def paths_of(source: Hub | Files | Lists) -> tuple[Path, ...]:
    """Return the files and folders of a source."""
    if isinstance(source, Lists):
        return (*source.forget, *source.retain)
    return (source.path,) if isinstance(source, Files) else ()


def number_skipped(source: Hub | Files | Lists) -> int:
    """Return the number of files of folders that are not read."""
    return sum(map(skipped_files, paths_of(source)))


class DocumentStream(Iterator[Document]):
    """The documents of a source that have text, with counts of what was skipped so far.

    Args:
        found: all documents, also those with blank text.
        first: number of the first record.
        skipped_files: number of files that are not read.
    """

    def __init__(self, found: Iterator[Document], first: int = 0, skipped_files: int = 0) -> None:
        self.records = first
        """Number of records of the source up to the last one that was read."""
        self.blank = 0
        """Number of records without text so far: it lacks, or is null, empty or blank."""
        self.skipped_files = skipped_files
        self._found = found

    def __next__(self) -> Document:
        """Return the next document with text."""
        for document in self._found:
            self.records = document.number + 1
            if not is_blank(document.text):
                return document
            self.blank += 1
        raise StopIteration

    def sentences(self) -> list[str]:
        """Return a line for each kind of record or file that was skipped, with its count."""
        counts = {"skipped_files": self.skipped_files, "blank": self.blank}
        return [SENTENCES[name].format(**counts) for name, number in counts.items() if number]


def read_documents(
    source: object,
    text_field: str | None = None,
    tokenizer: "PreTrainedTokenizerBase | None" = None,
    text_split: TextSplit = "auto",
    separators: tuple[str, ...] = SEPARATORS,
) -> DocumentStream:
    """Return the documents of texts, records, data sets, files or folders, in their order.

    A string is a path or the name of a data set, as on the command line. Strings in a list are
    texts, unless all of them are paths.

    Args:
        source: a path or the name of a data set; a list of paths; a `Hub` or `Files`; a
            `datasets.Dataset`, a `pandas.DataFrame` or any iterable of records; or an iterable of
            texts or of conversations.
        text_field: field of a record that holds the text, such as `meta.text`; by default `text`,
            or `messages` in records without it.
        tokenizer: its chat template makes texts of conversations, which are refused without it.
        text_split: what ends a document of a .txt file.
        separators: tokens that end a document of a .txt file.

    Raises:
        ValueError: if the source is none of these, a file cannot be read, or a record is malformed;
            the latter two while documents are read.

    >>> stream = read_documents(["The forest.", None, {"text": 5}])
    >>> [document.text for document in stream], stream.blank
    (['The forest.', '5'], 1)
    """
    chat = ChatTemplate(tokenizer)
    if isinstance(source, str):
        source = find_source(source, None, None, text_field, text_split, separators)
    if isinstance(source, Hub | Files):
        found = documents(source, chat=chat)
        return DocumentStream(found, skipped_files=number_skipped(source))
    field = text_field or TEXT
    paths = _paths(source)
    records = (
        read_records(paths, field, text_split, separators)
        if paths
        else _iterable_records(source, field)
    )
    skipped = sum(map(skipped_files, paths))
    return DocumentStream(documents_of(records, field, chat=chat), skipped_files=skipped)


def _paths(source: object) -> list[Path]:
    """Return the paths that a source consists of, or nothing if it consists of something else.

    Raises:
        ValueError: if some of its strings are names of files, and others are texts.
    """
    if isinstance(source, PathLike):
        return [Path(source)]
    if not isinstance(source, Sequence):
        return []
    if all(isinstance(each, PathLike) for each in source):
        return [Path(each) for each in source]
    texts = [each for each in source if isinstance(each, str)]
    named = next(filter(_FILE_NAME.fullmatch, texts), None)
    short = len(texts) == len(source) and max(map(len, texts)) < LONGEST_PATH
    if short and all(_FILE_NAME.fullmatch(each) or Path(each).exists() for each in texts):
        return list(map(Path, texts))
    if named is not None:
        raise ValueError(
            f"{shortened(named)} is the name of a file, and stands in a list of texts: give paths "
            "that exist only, or texts only; a text of this kind as a record, {'text': ...}"
        )
    return []


LONGEST_PATH = 1024
"""Characters from which on a string is no path."""
_FILE_NAME = re.compile(r"\S+\.(csv|json|jsonl|ndjson|parquet|txt)(\.gz|\.zst)?", re.IGNORECASE)
"""Matches names of files, and few texts."""


def _iterable_records(source: object, field: str) -> Iterator[Located]:
    """Yield the records of an iterable of records, texts or conversations.

    Raises:
        ValueError: if the source is something else.
    """
    if isinstance(source, Mapping):
        names = ", ".join(map(str, source)) or "nothing"
        raise ValueError(
            f"a {type(source).__name__} of {names} was given: give the data set of one of these"
        )
    if not isinstance(source, Iterable) or isinstance(source, bytes):
        raise ValueError(
            f"{shortened(source)} was given: give texts, records, a data set, or paths of files"
        )
    table = hasattr(source, "to_dict") and hasattr(source, "columns")  # of pandas
    records: Iterable[object] = source.to_dict("records") if table else source  # type: ignore[attr-defined]
    for number, each in enumerate(records):
        record = each if isinstance(each, Mapping) else {field: each}
        yield Located(f"record {number}", record, type(source).__name__)


def source_settings(source: Hub | Files | Lists) -> dict[str, Any]:
    """Return a source as plain data, with the checksums of files, by which changes are detected."""
    data = asdict(source)
    if paths := paths_of(source):
        data["files"] = {name: sha for path in paths for name, sha in checksums(path).items()}
        if any(is_page(Path(name)) for name in data["files"]):
            data["formatted_by"] = find_program()
    return data
