"""Local files of documents: which of a folder are read, and how each is divided into records.

A .jsonl or .ndjson file has a record on each line, a .json file has a list of records or one on
each line, and a .csv or .parquet file has one in each row (`lm.data.tables`). A .txt file is
divided at separators such as `<|endoftext|>`, at blank lines, or not at all. A byte-order mark at
the start of a line shows where files were concatenated: it is removed, and a new document begins
there. Manual pages in folders such as `de/man1` are formatted (`lm.data.manual_pages`).
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from lm.data.document import Located, is_blank
from lm.data.lines import COMPRESSIONS, MARK, parsed, read_lines, suffix_of, whole_suffix
from lm.data.manual_pages import is_page, language_of, page_records
from lm.data.tables import csv_records, parquet_records

TextSplit = Literal["auto", "separators", "blank-lines", "files"]
"""What ends a document of a .txt file. auto: separators where a file has one; otherwise blank
lines, or the end of the file where a folder has several .txt files."""

SEPARATORS = ("<|endoftext|>", "<|end_of_text|>")
"""Tokens that end a document of a .txt file, as they are written in public data sets."""

READABLE = (
    ".csv, .json, .jsonl, .ndjson, .parquet or .txt, which may be followed by "
    f"{' or '.join(COMPRESSIONS)}, or manual pages in folders such as man1"
)
"""The suffixes of files that can be read, for error messages."""


def has_known_suffix(path: Path) -> bool:
    """Return whether a file has a suffix that can be read, or is a manual page."""
    suffix = suffix_of(path)
    return suffix == ".txt" or suffix in _READERS or is_page(path)


def files_at(path: Path) -> list[Path]:
    """Return a file, or the readable files of a folder, except hidden ones.

    Raises:
        ValueError: if there is none.
    """
    if path.is_dir():
        found = [
            each for each in _visible(path) if has_known_suffix(each) and not _is_alias(each, path)
        ]
        if not found:
            raise ValueError(
                f"the folder {path} holds no document: put files there that end in {READABLE}"
            )
        return found
    if not path.is_file():
        raise ValueError(f"there is no file {path}: give one that ends in {READABLE}, or a folder")
    if not has_known_suffix(path):
        raise ValueError(f"{path} cannot be read: give a file that ends in {READABLE}")
    return [path]


def _is_alias(path: Path, folder: Path) -> bool:
    """Return whether a file is another name of a manual page in the same folder."""
    return is_page(path) and path.is_symlink() and path.resolve().is_relative_to(folder.resolve())


def skipped_files(path: Path) -> int:
    """Return the number of files of a folder that are hidden, or have another suffix.

    A link to a folder, which may lead back to the folder itself, is not followed, and counts as
    one. So does a further name of a manual page.
    """
    if not path.is_dir():
        return 0
    found = sum(each.is_symlink() or not each.is_dir() for each in path.rglob("*"))
    return found - len(files_at(path))


def _visible(folder: Path) -> list[Path]:
    """Return the files of a folder that no system hides, in the order of their names."""

    def hidden(path: Path) -> bool:
        names = path.relative_to(folder).parts
        return any(name.startswith(".") or name == "__MACOSX" for name in names)

    return sorted(each for each in folder.rglob("*") if each.is_file() and not hidden(each))


def checksums(path: Path) -> dict[str, str]:
    """Return the SHA-256 of each file that is read."""
    found = {}
    for each in files_at(path):
        try:
            with each.open("rb") as file:
                found[str(each)] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ValueError(f"{each} cannot be read ({error.strerror})") from error
    return found


def read_records(
    paths: Path | Sequence[Path],
    field: str,
    split: TextSplit = "auto",
    separators: Sequence[str] = SEPARATORS,
) -> Iterator[Located]:
    """Yield the records of files, those of a folder in the order of their names, each once.

    Manual pages come first, and those in English before others.

    Args:
        paths: a file or folder, or several.
        field: the field in which the record of a .txt document holds its text.
        split: what ends a document of a .txt file.
        separators: tokens that end a document of a .txt file.

    Raises:
        ValueError: if a file cannot be read, or a record is malformed.
    """
    given = [paths] if isinstance(paths, Path) else paths
    found = list(dict.fromkeys(file for path in given for file in files_at(path)))
    several = sum(suffix_of(each) == ".txt" for each in found) > 1
    pages = [file for file in found if is_page(file)]
    seen: set[str] = set()
    # English first, so that paragraphs left untranslated in other languages are repetitions
    for page in sorted(pages, key=lambda page: language_of(page) != "en"):
        yield from page_records(page, field, seen)
    for file in found:
        if is_page(file):
            continue
        if suffix_of(file) == ".txt":
            own = _split_of(file, separators, several) if split == "auto" else split
            yield from _texts(file, field, own, separators)
        else:
            yield from _READERS[suffix_of(file)](file)


def _split_of(file: Path, separators: Sequence[str], several: bool) -> TextSplit:
    """Return what ends the documents of a .txt file: what it holds and what is next to it."""
    if any(each in line for _, line in read_lines(file) for each in separators):
        return "separators"
    return "files" if several else "blank-lines"


def _texts(
    path: Path, field: str, split: TextSplit, separators: Sequence[str]
) -> Iterator[Located]:
    """Yield the documents of a .txt file as records."""
    blocks: Iterator[tuple[int, str]]
    if split == "separators":
        blocks = _between(path, re.compile("|".join(map(re.escape, separators))))
    elif split == "blank-lines":
        blocks = _blocks(path)
    else:
        blocks = iter([(1, "\n".join(line.removeprefix(MARK) for _, line in read_lines(path)))])
    origin = f"{whole_suffix(path)}, divided by {split}"
    for number, text in blocks:
        yield Located(f"{path}, line {number}", {field: text}, origin, str(path))


def _blocks(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the blocks of lines between blank lines, each with the number of its first line."""
    block, first = "", 1
    for number, whole in read_lines(path):
        if whole.startswith(MARK) and block:
            yield first, block.rstrip("\n")
            block = ""
        # a line of a file may hold further ends of lines, which stay in the text
        for line in _LINE.findall(f"{whole.lstrip(MARK)}\n"):
            if not is_blank(line):
                first = first if block else number
                block += line
            elif block:
                yield first, block.rstrip(_ENDS)
                block = ""
    if block:
        yield first, block.rstrip("\n")


_ENDS = "\n\x85\u2028\u2029"
"""Ends of lines in Unicode; those of all systems are read as the first."""
_LINE = re.compile(f"[^{_ENDS}]*[{_ENDS}]")


def _between(path: Path, separator: re.Pattern[str]) -> Iterator[tuple[int, str]]:
    """Yield the texts between separators, each with the number of its first line.

    Blank text before the first separator, or after the last one, is not a document.
    """
    lines: list[str] = []
    first, begun = 1, False
    for number, line in read_lines(path):
        if line.startswith(MARK) and not is_blank("\n".join(lines)):
            yield first, "\n".join(lines).strip("\n")
            lines, first = [], number
        *ended, rest = separator.split(line.lstrip(MARK))
        for part in ended:
            text = "\n".join([*lines, part]).strip("\n")
            if begun or not is_blank(text):
                yield first, text
            lines, first, begun = [], number, True
        lines.append(rest)
    if not is_blank(text := "\n".join(lines).strip("\n")):
        yield first, text


def _json_lines(path: Path) -> Iterator[Located]:
    """Yield the records of each line that is not blank."""
    for number, line in read_lines(path):
        where = f"{path}, line {number}"
        for record in _values(line, where):
            yield Located(where, _object(record, where), whole_suffix(path), str(path))


def _json(path: Path) -> Iterator[Located]:
    """Yield the records of a .json file, which may hold a list, or a record on each line."""
    filled = (line.strip(_SPACE) for _, line in read_lines(path) if not is_blank(line))
    first_two = list(islice(filled, 2))
    return (
        _json_lines(path)
        if len(first_two) == 2 and all(map(_is_object, first_two))
        else _json_list(path)
    )


def _is_object(text: str) -> bool:
    """Return whether a text is an object of JSON, and not only its beginning."""
    try:
        return text.startswith("{") and isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _json_list(path: Path) -> Iterator[Located]:
    """Yield the records of a list."""
    number = 0
    for data in _values("\n".join(line for _, line in read_lines(path)), str(path)):
        if not isinstance(data, list):
            raise ValueError(f"{path} holds {type(data).__name__}: give a list of records")
        for record in data:
            where = f"{path}, record {number}"
            yield Located(where, _object(record, where), whole_suffix(path), str(path))
            number += 1


def _values(text: str, where: str) -> Iterator[Any]:
    """Yield the value of a text, or several where byte-order marks show that files were joined."""
    if is_blank(text):
        return
    text = text.strip(_SPACE)
    if MARK not in text:
        yield parsed(text, where)
        return
    while text:
        try:
            end = _DECODER.raw_decode(text)[1]
        except (ValueError, RecursionError):
            end = len(text)
        joined = text[end:].lstrip(_SPACE.replace(MARK, "")).startswith(MARK)
        yield parsed(text[:end] if joined else text, where)
        text = text[end:].strip(_SPACE) if joined else ""


_DECODER = json.JSONDecoder()
_SPACE = f" \t\n\r{MARK}"


def _object(record: Any, where: str) -> dict[str, Any]:  # noqa: ANN401
    if not isinstance(record, dict):
        raise ValueError(f"{where} holds {type(record).__name__}: give a JSON object")
    return record


_READERS: dict[str, Callable[[Path], Iterator[Located]]] = {
    ".csv": csv_records,
    ".json": _json,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".parquet": parquet_records,
}
"""Readers of files whose records have fields, by suffix."""
