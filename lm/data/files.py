"""Documents of local files: .txt by blank lines, .jsonl by lines, .json as a list."""

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from lm.data.document import Document, Located, documents_of


def file_documents(path: Path, field: str, first: int = 0) -> Iterator[Document]:
    """Yield the documents of a file, or of all files of a folder in the order of their names.

    Args:
        path: a file or a folder; of the latter, files of other suffixes are not read.
        field: where a record has its text; a .txt file has nothing else.
        first: the record to begin with.

    Raises:
        ValueError: if there is no such file, or a record is malformed.
    """
    records = (each for file in files_at(path) for each in READERS[file.suffix](file, field))
    return documents_of(islice(records, first, None), field, first)


def files_at(path: Path) -> list[Path]:
    """Return a file, or the files of a folder that can be read.

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
    """Yield what lies between blank lines."""
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
    """Yield a record of each line that is not blank."""
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
"""What yields the records of a file, by its suffix."""


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file, numbered from 1, without their ends."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                encoding = "utf-8-sig" if number == 1 else "utf-8"  # the first may have a mark
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
        raise ValueError(
            f'{where} holds {type(record).__name__}: give an object, such as {{"text": "..."}}'
        )
    return record
