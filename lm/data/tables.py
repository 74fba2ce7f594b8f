"""Tables as records: the rows of .csv and .parquet files.

They are read here and not by `datasets`, which infers types: it reads `007` as 7, `NA` as null, and
text in the form of a date as a date.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lm.data.document import Located
from lm.data.lines import (
    MARK,
    compression_of,
    damaged,
    ended_lines,
    import_arrow,
    opened,
    whole_suffix,
)

LARGEST_CELL = 2**31 - 1
"""Most characters of a cell. The module `csv` allows 131,072 by default."""
ROWS = 256
"""Rows of a .parquet file that are converted at once."""


def csv_records(path: Path) -> Iterator[Located]:
    """Yield the rows of a .csv file, all cells of which are text; the first row names the columns.

    Cells in double quotes may hold commas, ends of lines, which stay as they are, and doubled
    quotes. Blank lines are no rows, and columns without a name are left out.

    Raises:
        ValueError: if the file cannot be read or has no header, or a row has too few or too many
            cells.
    """
    names: list[str] = []
    for line, cells in _csv_rows(path):
        where = f"{path}, line {line}"
        if not names or cells[0].startswith(MARK):  # where files were put together
            names = _column_names(cells, where)
        elif len(cells) != len(names):
            raise ValueError(
                f"{where} has {len(cells)} cells, and the header names {len(names)} columns: give "
                "each row one cell for each column, in double quotes if it holds commas"
            )
        else:
            record = {name: cell for name, cell in zip(names, cells, strict=True) if name}
            yield Located(where, record, whole_suffix(path), str(path))


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each row that is not blank, and the number of its first line."""
    reader = csv.reader((line for _, line in ended_lines(path)), strict=True)
    while True:
        line = reader.line_num + 1
        limit = csv.field_size_limit(LARGEST_CELL)
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise ValueError(
                f"{path}, line {line} is not CSV ({error}): put a cell with commas, quotes or ends "
                "of lines in double quotes, and double each quote in it"
            ) from error
        finally:
            csv.field_size_limit(limit)  # of the whole process
        if cells is None:
            return
        if cells:
            yield line, cells


def _column_names(cells: Sequence[str], where: str) -> list[str]:
    """Return the names of columns in a header.

    Raises:
        ValueError: if there is none, or two columns have one name.
    """
    first = cells[0]
    if first.startswith(MARK):
        first = first.lstrip(MARK)
        # the module `csv` takes quotes after a mark literally
        first = first[1:-1] if first[:1] == first[-1:] == '"' else first
    names = [name.strip() for name in (first, *cells[1:])]
    doubled = [name for name, number in Counter(filter(None, names)).items() if number > 1]
    if doubled or not any(names):
        what = f"the column {doubled[0]!r} twice" if doubled else "no name of a column"
        raise ValueError(f"{where} has {what}: give a header that names each column once")
    return names


def parquet_records(path: Path) -> Iterator[Located]:
    """Yield the rows of a .parquet file.

    Raises:
        ValueError: if the file cannot be read, or text in it is not UTF-8.
    """
    arrow, number = import_arrow(path), 0
    for batch in _batches(path, arrow):
        for row in _rows(batch, f"{path}, row", number):
            yield Located(f"{path}, row {number}", row, whole_suffix(path), str(path))
            number += 1


def _batches(path: Path, arrow: Any) -> Iterator[Any]:  # noqa: ANN401
    """Yield the rows of a .parquet file in batches."""
    try:
        with opened(path) as file:
            source = arrow.BufferReader(file.read()) if compression_of(path) else file
            table = arrow.parquet.ParquetFile(source, page_checksum_verification=True)
            names = Counter(table.schema_arrow.names)
            if doubled := [name for name, count in names.items() if count > 1]:
                raise ValueError(f"{path} has the column {doubled[0]!r} twice: give it once")
            yield from table.iter_batches(ROWS)
    except arrow.ArrowException as error:
        raise ValueError(damaged(path, error)) from error


def _rows(batch: Any, where: str, first: int) -> list[dict[str, Any]]:  # noqa: ANN401
    """Return the rows of a batch as Python objects.

    Raises:
        ValueError: if text is not UTF-8, which .parquet files do not check.
    """
    try:
        return batch.to_pylist()  # type: ignore[no-any-return]
    except UnicodeDecodeError as error:
        place = next(n for n in range(batch.num_rows) if not _is_unicode(batch.slice(n, 1)))
        raise ValueError(
            f"{where} {first + place} has text that is not UTF-8 ({error.reason}): correct it, or "
            "remove the row"
        ) from error


def _is_unicode(batch: Any) -> bool:  # noqa: ANN401
    try:
        batch.to_pylist()
    except UnicodeDecodeError:
        return False
    return True
