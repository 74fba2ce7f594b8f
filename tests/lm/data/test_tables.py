"""Rows of tables are read as they are, and malformed ones are named."""

import csv
import io
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from lm.data.document import Located
from lm.data.tables import csv_records, parquet_records
from tests.lm.data.factories import pa, pq, write_compressed

BOM = "\ufeff"


def rows(text: str | bytes, folder: Path, name: str = "a.csv") -> list[Located]:
    content = text.encode() if isinstance(text, str) else text
    return list(csv_records(write_compressed(folder / name, content)))


def cells(text: str, folder: Path) -> list[Mapping[str, Any]]:
    return [each.record for each in rows(text, folder)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_cells_are_text_as_it_stands(tmp_path: Path, end: str) -> None:
    texts = ["one, two", f"a{end}b\n\nc", 'say "so"', "007", "NA", "2024-01-01", "", " x ", "true"]
    made = io.StringIO(newline="")
    csv.writer(made, lineterminator=end).writerows(
        [["text", "n"], *([t, n] for n, t in enumerate(texts))]
    )
    found = cells(made.getvalue(), tmp_path)
    assert found == [{"text": text, "n": str(n)} for n, text in enumerate(texts)]


def test_place_is_the_first_line_of_a_row(tmp_path: Path) -> None:
    found = rows('text\n"a\n\nb"\n\nc\n', tmp_path)
    assert [each.where.rsplit(" ", 1)[1] for each in found] == ["2", "6"]
    assert {each.file for each in found} == {str(tmp_path / "a.csv")}


@pytest.mark.parametrize("header", ["text,id", '"text","id"', " text , id "])
@pytest.mark.parametrize("lead", ["", BOM, BOM * 2])
def test_byte_order_marks_are_no_part_of_columns(tmp_path: Path, header: str, lead: str) -> None:
    text = f"{lead}{header}\na,1\n"
    assert cells(text, tmp_path) == [{"text": "a", "id": "1"}]
    if lead:  # two files were put together
        assert cells(text + text, tmp_path) == [{"text": "a", "id": "1"}] * 2


def test_columns_without_a_name_are_left_out(tmp_path: Path) -> None:
    assert cells(",text,\n0,a,x\n1,b,y\n", tmp_path) == [{"text": "a"}, {"text": "b"}]


def test_cell_may_be_long_and_the_limit_of_the_process_stays(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    text = "long " * 60_000
    assert cells(f'text\n"{text}"\n', tmp_path) == [{"text": text}]
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,id\na\n", "a.csv, line 2 has 1 cells, and the header names 2 columns"),
        ("text,id\n\na,b,c\n", "a.csv, line 3 has 3 cells"),
        ('text\nb\n"a\n', r"a.csv, line 3 is not CSV \(unexpected end of data\)"),
        ('text,id\n"a"b,1\n', "a.csv, line 2 is not CSV"),
        ("text,text\na,b\n", "a.csv, line 1 has the column 'text' twice"),
        (",\na,b\n", "a.csv, line 1 has no name of a column: give a header"),
        (b"text\na\n\xff\n", "a.csv, line 3 is not UTF-8"),
        (b"text\n\0\n", "a.csv, line 2 has a NUL"),
    ],
)
def test_malformed_rows_are_named(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        rows(content, tmp_path)
    assert str(caught.value).isprintable()


def parquet(folder: Path, table: Any, name: str = "a.parquet", **options: Any) -> Path:  # noqa: ANN401
    made = io.BytesIO()
    pq.write_table(table, made, **options)
    return write_compressed(folder / name, made.getvalue())


@pytest.mark.parametrize("kind", ["string", "large_string", "string_view", "dictionary"])
@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_columns_of_text_of_any_kind_are_read(tmp_path: Path, kind: str, codec: str) -> None:
    texts = [f"text {n}\r\n" for n in range(600)] + [None, "", "caf\u00e9"]
    kinds = {"dictionary": pa.dictionary(pa.int32(), pa.string())}
    column = pa.array(texts, kinds.get(kind) or getattr(pa, kind)())
    path = parquet(tmp_path, pa.table({"text": column}), compression=codec, row_group_size=100)
    found = list(parquet_records(path))
    assert [each.record["text"] for each in found] == texts
    assert found[-1].where == f"{path}, row 602"


@pytest.mark.parametrize("name", ["a.parquet", "a.PARQUET.gz", "a.parquet.zst"])
def test_structs_and_values_are_objects(tmp_path: Path, name: str) -> None:
    record = {"meta": {"text": "a", "tags": ["x", "y"]}, "n": 3, "day": date(2024, 1, 1), "x": None}
    path = parquet(tmp_path, pa.Table.from_pylist([record]), name)
    assert [each.record for each in parquet_records(path)] == [record]


def test_text_of_a_parquet_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    texts = pa.array([b"a"] * 300 + [b"\xff"]).view(pa.binary())
    column = pa.Array.from_buffers(pa.string(), 301, texts.buffers())
    path = parquet(tmp_path, pa.table({"text": column}))
    with pytest.raises(ValueError, match=r"a\.parquet, row 300 has text that is not UTF-8"):
        list(parquet_records(path))


@pytest.mark.parametrize("damage", ["cut", "empty", "other", "changed", "doubled"])
def test_damaged_parquet_files_are_refused(tmp_path: Path, damage: str) -> None:
    table = pa.table({"text": [f"text {n * n}" for n in range(2000)]})
    path = parquet(tmp_path, table, write_page_checksum=True, use_dictionary=False)
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 3] ^= 255
    path.write_bytes(
        {"cut": whole[:-9], "empty": b"", "other": b"text\n" * 9}.get(damage, bytes(changed))
    )
    if damage == "doubled":
        parquet(tmp_path, pa.table([["a"], ["b"]], names=["text", "text"]))
    with pytest.raises(ValueError, match=r"a\.parquet (cannot be read|has the col)") as caught:
        list(parquet_records(path))
    assert str(caught.value).isprintable()
