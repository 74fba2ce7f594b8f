"""Local files give their documents, from any record on; what is malformed is named by its line."""

import json
from pathlib import Path

import pytest

from lm.data.sources import Files, documents, file_documents
from tests.lm.data.made import RECORDS, write_lines


def texts(path: Path, field: str = "text", first: int = 0) -> list[tuple[int, str]]:
    return [(each.number, each.text) for each in file_documents(path, field, first)]


def test_blank_lines_part_the_documents_of_a_text_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n\r\n \n\nthree\n\nfour")
    assert texts(path) == [(0, "one\ntwo"), (1, "three"), (2, "four")]
    assert texts(path, "body") == texts(path)


def test_lines_and_lists_of_records_give_the_same_documents(tmp_path: Path) -> None:
    lines, listed = write_lines(tmp_path / "a.jsonl"), tmp_path / "a.json"
    listed.write_text(json.dumps(RECORDS))
    found = list(file_documents(lines, "text"))
    assert found == list(file_documents(listed, "text"))
    assert [dict(each.fields) for each in found] == RECORDS


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.txt").write_text("last")
    (tmp_path / "a.txt").write_text("first\n\nsecond")
    (tmp_path / "notes.md").write_text("not read")
    assert texts(tmp_path) == [(0, "first"), (1, "second"), (2, "last")]


def test_records_without_text_are_left_out_and_counted(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"text": "a"}, {"text": " \n"}, {"text": "b"}])
    assert texts(path) == [(0, "a"), (2, "b")]


def test_reading_goes_on_at_any_record(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl")
    everything = texts(path)
    for first in (0, 1, 59, 60, 99):
        again = documents(Files(path=path), first)
        assert [(each.number, each.text) for each in again] == everything[first:]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "a"}\n\n{"text"\n', "a.jsonl, line 3 is not JSON"),
        ("a.jsonl", b'{"text": "a"}\n["a"]\n', "a.jsonl, line 2 holds list: give an object"),
        ("a.jsonl", b'{"body": "a", "id": 1}\n', "line 1 has no text in a field 'text', only body"),
        ("a.jsonl", b'{"text": 5}\n', "line 1 has no text in a field 'text', only text"),
        ("a.jsonl", b"{}\n", "only nothing: name the field by --text-field"),
        ("a.json", b'{"text": "a"}', "a.json holds dict: give a list of records"),
        ("a.json", b'[{"text": "a"}, 5]', "a.json, record 1 holds int: give an object"),
        ("a.json", b"[[", "a.json is not JSON"),
        ("a.txt", b"a\n\n\xff", "a.txt, line 3 is not UTF-8"),
        ("a.csv", b"text", "a.csv cannot be read: give a file that ends in .json, .jsonl, .txt"),
    ],
)
def test_what_is_malformed_is_named(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        texts(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no file .*b\.txt"):
        texts(tmp_path / "b.txt")
    with pytest.raises(ValueError, match="holds no document"):
        texts(tmp_path)
