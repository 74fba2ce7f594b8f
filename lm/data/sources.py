"""Where documents come from: data sets of the Hugging Face hub, and local files.

Data sets are streamed. In a .txt file documents are separated by blank lines; a .jsonl file has a
record on each line, and a .json file a list of records.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lm.data.document import Document, Located, documents_of
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
    """A file, or a folder of files."""

    path: Path
    field: str = "text"
    """Field of a record that holds the text."""


def _hub_records(source: Hub, first: int) -> Iterator[Located]:
    stream = _opened(source).skip(first)
    number = first
    try:
        for record in stream:
            yield f"{source.dataset}, record {number}", record
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


def files_at(path: Path) -> list[Path]:
    """Return a file, or the readable files of a folder.

    Raises:
        ValueError: if there is none.
    """
    readable = ", ".join(READERS)
    if path.is_dir():
        found = sorted(each for each in path.rglob("*") if each.suffix in READERS)
        if not found:
            raise ValueError(f"the folder {path} holds no document: put {readable} files there")
        return found
    if not path.is_file():
        raise ValueError(f"there is no file {path}: give one that ends in {readable}, or a folder")
    if path.suffix not in READERS:
        raise ValueError(f"{path} cannot be read: give a file that ends in {readable}")
    return [path]


def _blocks(path: Path, field: str) -> Iterator[Located]:
    """Yield the blocks of lines between blank lines."""
    block: list[str] = []
    first = 1
    for number, line in _lines(path):
        if line.strip():
            first = first if block else number
            block.append(line)
        elif block:
            yield f"{path}, line {first}", {field: "\n".join(block)}
            block = []
    if block:
        yield f"{path}, line {first}", {field: "\n".join(block)}


def _json_lines(path: Path, _: str) -> Iterator[Located]:
    """Yield the record of each line that is not blank."""
    for number, line in _lines(path):
        if line.strip():
            where = f"{path}, line {number}"
            yield where, _object(_parsed(line, where), where)


def _json_list(path: Path, _: str) -> Iterator[Located]:
    """Yield the records of a list."""
    data = _parsed("\n".join(line for _, line in _lines(path)), str(path))
    if not isinstance(data, list):
        raise ValueError(f"{path} holds {type(data).__name__}: give a list of records")
    for number, record in enumerate(data):
        where = f"{path}, record {number}"
        yield where, _object(record, where)


READERS: dict[str, Callable[[Path, str], Iterator[Located]]] = {
    ".json": _json_list,
    ".jsonl": _json_lines,
    ".txt": _blocks,
}
"""Readers of the records of a file, by suffix."""


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file without line ends, numbered from 1."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                encoding = "utf-8-sig" if number == 1 else "utf-8"  # with a byte order mark
                yield number, line.decode(encoding).rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}, line {number} is not UTF-8 ({error.reason}): convert the file"
        ) from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from error


def _parsed(text: str, where: str) -> Any:  # noqa: ANN401
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is not JSON ({error}): correct it, or remove it") from error


def _object(record: Any, where: str) -> dict[str, Any]:  # noqa: ANN401
    if not isinstance(record, dict):
        raise ValueError(f"{where} holds {type(record).__name__}: give a JSON object")
    return record


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
    data: str, subset: str | None = None, split: str | None = None, field: str | None = None
) -> Hub | Files:
    """Return the source of a name of `SOURCES`, a name on the hub, or a path.

    An existing path takes precedence.

    Raises:
        ValueError: if there is no such file, the name is malformed, or a path is given a subset or
            split.

    >>> find_source("tinystories", split="validation").split
    'validation'
    """
    path = Path(data)
    own = {"subset": subset, "split": split, "field": field}
    given: dict[str, Any] = {name: value for name, value in own.items() if value is not None}
    if path.exists() or path.suffix in READERS or data.startswith((".", "/")):
        files_at(path)
        if {"subset", "split"} & set(given):
            raise ValueError(f"{data} is a path, and files have no subset or split: leave both out")
        return Files(path=path, **given)
    if data in SOURCES:
        return replace(SOURCES[data], **given)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", data):
        return Hub(dataset=data, **given)
    raise ValueError(
        f"{data!r} is no file or folder, nor a data set: choose from {', '.join(SOURCES)}, or give "
        "OWNER/NAME of one on the hub"
    )


def documents(source: Hub | Files, first: int = 0) -> Iterator[Document]:
    """Yield the documents of a source from record `first` on.

    Files in a folder are read in the order of their names, and those with other suffixes skipped.

    Raises:
        ValueError: if there is no such file or data set, it needs a login, the hub is out of reach,
            the package `datasets` is not installed, or a record is malformed.
    """
    if isinstance(source, Hub):
        return documents_of(_hub_records(source, first), source.field, first)
    field = source.field
    records = (each for file in files_at(source.path) for each in READERS[file.suffix](file, field))
    return documents_of(islice(records, first, None), field, first)


def source_settings(source: Hub | Files) -> dict[str, Any]:
    """Return a source as plain data, with the sizes of files, by which changes are detected."""
    data = asdict(source)
    if isinstance(source, Files):
        data["files"] = {str(file): file.stat().st_size for file in files_at(source.path)}
    return data
