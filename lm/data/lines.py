"""Lines of text files, plain or compressed, and JSON values; errors name the place of the fault.

Files are UTF-8, and lines end as on any system. What compresses a file is named by its last suffix.
"""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, cast

from lm.data.document import SURROGATE, shortened
from lm.models.hf_loading import first_line

COMPRESSIONS = (".gz", ".zst")
"""Suffixes of compressed files, which follow the suffix of the format."""

MARK = "\ufeff"
"""The byte-order mark."""


def suffix_of(path: Path) -> str:
    """Return the suffix of a file's format in lower case, without the suffix of its compression.

    >>> suffix_of(Path("stories.JSONL.gz"))
    '.jsonl'
    """
    name = Path(path.stem) if compression_of(path) else path
    return name.suffix.lower()


def whole_suffix(path: Path) -> str:
    """Return the suffixes of a file's format and of its compression in lower case."""
    return suffix_of(path) + compression_of(path)


def compression_of(path: Path) -> str:
    """Return the suffix of a file's compression in lower case, or an empty string."""
    last = path.suffix.lower()
    return last if last in COMPRESSIONS else ""


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading bytes, and decompress it if its name says that it is compressed.

    Raises:
        ValueError: if it cannot be read, also while it is being read.
    """
    compression = compression_of(path)
    try:
        if compression and not path.stat().st_size:
            raise EOFError("it has no content")
        with _stream(path, compression) as file:
            yield file
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None)  # of the system, and not of a decompressor
        raise ValueError(
            f"{path} cannot be read ({reason})" if reason else damaged(path, error)
        ) from error


def damaged(path: Path, error: BaseException) -> str:
    """Return the message of an error in the content of a file."""
    return f"{path} cannot be read ({first_line(error)}): it is truncated or damaged, get it again"


def _stream(path: Path, compression: str) -> IO[bytes]:
    if compression == ".gz":
        return cast("IO[bytes]", gzip.open(path))
    if compression == ".zst":
        arrow = import_arrow(path)
        return cast("IO[bytes]", arrow.CompressedInputStream(arrow.OSFile(str(path)), "zstd"))
    return path.open("rb")


def import_arrow(path: Path) -> Any:  # noqa: ANN401
    """Return the module `pyarrow`, which the extra `hf` installs.

    Raises:
        ValueError: if it is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: PLC0415 (it needs the extra)
    except ImportError as error:
        raise ValueError(
            f"reading {path} needs the package `pyarrow`: pip install -e '.[hf]'"
        ) from error
    return pyarrow


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file without their ends (of any system), numbered from 1.

    Raises:
        ValueError: if the file cannot be read, is not UTF-8, or has a NUL character.
    """
    for number, line in ended_lines(path, None):
        yield number, line.removesuffix("\n")


def ended_lines(path: Path, newline: str | None = "") -> Iterator[tuple[int, str]]:
    r"""Yield the lines of a file with their ends, numbered from 1.

    Args:
        path: the file.
        newline: empty to keep ends of lines as they are, None to read each as "\n".

    Raises:
        ValueError: as `read_lines`.
    """
    number = 0
    try:
        with (
            opened(path) as file,
            TextIOWrapper(file, "utf-8", errors="surrogateescape", newline=newline) as text,
        ):
            for number, line in enumerate(text, 1):
                if SURROGATE.search(line):
                    line.encode("utf-8", "surrogateescape").decode("utf-8")  # raises the reason
                if "\0" in line:
                    raise ValueError(
                        f"{path}, line {number} has a NUL character, as UTF-16 has: convert the "
                        "file to UTF-8"
                    )
                yield number, line
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}, line {number} is not UTF-8 ({error.reason}): convert the file"
        ) from error


def read_text(path: Path) -> str:
    """Return the text of a file, without carriage returns and byte-order marks of lines.

    Raises:
        ValueError: if it cannot be read, or is not UTF-8.
    """
    return "\n".join(line.lstrip(MARK) for _, line in read_lines(path))


class _DoubledKeyError(ValueError):
    """A key of an object has two values."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object, in which no key has two values."""
    found = dict(pairs)
    if len(found) < len(pairs):
        for key, value in pairs:
            if repr(value) != repr(found[key]):
                raise _DoubledKeyError(
                    f"{key!r} is {shortened(value)} and {shortened(found[key])}: give it once"
                )
    return found


def parsed(text: str, where: str, pairs: Callable[[list[Any]], Any] = _unique) -> Any:  # noqa: ANN401
    """Return the value of a JSON text.

    Args:
        text: the text.
        where: where it was read, for errors.
        pairs: makes an object of its pairs of keys and values.

    Raises:
        ValueError: if it is not JSON, or a key has two values.
    """
    try:
        return json.loads(text, object_pairs_hook=pairs)
    except _DoubledKeyError as error:
        raise ValueError(f"{where} has a key twice: {error}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is not JSON ({error}): correct it, or remove it") from error
