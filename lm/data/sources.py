"""Where documents come from: data sets of the Hugging Face hub, which are streamed, and files."""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lm.data.document import Document, Located, documents_of
from lm.data.files import SEPARATORS, SUFFIXES, TextSplit, checksums, files_at, read_records
from lm.models.hf_loading import first_line, is_gated

if TYPE_CHECKING:
    from datasets import IterableDataset


@dataclass(frozen=True, kw_only=True, slots=True)
class Hub:
    """A data set of the hub."""

    dataset: str
    subset: str | None = None
    """Configuration of the data set, where it has several."""
    split: str = "train"
    field: str = "text"
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
    field: str = "text"
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
            split, or something without .txt files is told how to divide them.

    >>> find_source("tinystories", split="validation").split
    'validation'
    """
    path = Path(data)
    own = {"subset": subset, "split": split, "field": field}
    given: dict[str, Any] = {name: value for name, value in own.items() if value is not None}
    # an empty path would be the current folder
    if data and (path.exists() or path.suffix.lower() in SUFFIXES or data.startswith((".", "/"))):
        if {"subset", "split"} & set(given):
            raise ValueError(f"{data} is a path, and files have no subset or split: leave both out")
        texts = any(each.suffix.lower() == ".txt" for each in files_at(path))
        _require_texts(data, texts, text_split)
        return Files(path=path, text_split=text_split, separators=separators, **given)
    if data not in SOURCES and not re.fullmatch(r"[\w.-]+/[\w.-]+", data):
        raise ValueError(
            f"{data!r} is no file or folder, nor a data set: choose from {', '.join(SOURCES)}, or "
            "give OWNER/NAME of one on the hub"
        )
    _require_texts(data, False, text_split)
    return replace(SOURCES[data], **given) if data in SOURCES else Hub(dataset=data, **given)


def _require_texts(data: str, texts: bool, text_split: TextSplit) -> None:
    if text_split != "auto" and not texts:
        raise ValueError(
            f"{data} has no .txt file, and text_split {text_split!r} was given: leave it out"
        )


def documents(source: Hub | Files, first: int = 0) -> Iterator[Document]:
    """Yield the documents of a source from record `first` on, also those with blank text.

    Files in a folder are read in the order of their names, and those with other suffixes skipped.

    Raises:
        ValueError: if there is no such file or data set, it needs a login, the hub is out of reach,
            the package `datasets` is not installed, or a record is malformed.
    """
    if isinstance(source, Hub):
        return documents_of(_hub_records(source, first), source.field, first)
    records = read_records(source.path, source.field, source.text_split, source.separators)
    return documents_of(islice(records, first, None), source.field, first)


def source_settings(source: Hub | Files) -> dict[str, Any]:
    """Return a source as plain data, with the checksums of files, by which changes are detected."""
    data = asdict(source)
    if isinstance(source, Files):
        data["files"] = checksums(source.path)
    return data
