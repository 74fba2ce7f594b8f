"""Local files are read whole and divided as they should be, whatever wrote them."""

import json
from pathlib import Path
from typing import Any

import pytest

from lm.data.files import checksums, files_at, read_records, skipped_files
from lm.data.records import documents_of
from tests.lm.data.factories import RECORDS, write_lines

BOM = "\ufeff"


def texts(path: Path, field: str = "text", **options: Any) -> list[str]:  # noqa: ANN401
    records = read_records(path, field, **options)
    return [each.text for each in documents_of(records, field, 0)]


def written(folder: Path, text: str | bytes, name: str = "a.txt") -> Path:
    """Return a file, written without any translation of line ends."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\x85", "\u2028", "\u2029"])
def test_blank_lines_separate_documents_of_a_text_file(tmp_path: Path, end: str) -> None:
    path = written(tmp_path, f"one{end}two{end}{end} {end}{end}three{end}{end}four{end}")
    inside = end if end in "\x85\u2028\u2029" else "\n"
    assert texts(path) == [f"one{inside}two", "three", "four"]
    assert texts(path, "body") == texts(path)


def test_line_ends_of_several_systems_may_be_mixed(tmp_path: Path) -> None:
    path = written(tmp_path, "one\rtwo\r\rthree\n\r\nfour\u2029\n\x85five\n\u200b\nsix")
    assert texts(path) == ["one\ntwo", "three", "four", "five", "six"]


def test_marks_and_ends_of_lines_inside_a_line_stay_in_the_text(tmp_path: Path) -> None:
    text = "one\u2028two\x0bthree\x0cfour a\ufeffb fo\u200brest cafe\u0301"
    assert texts(written(tmp_path, text)) == [text]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_records_end_with_lines_of_any_system_only(tmp_path: Path, end: str) -> None:
    values = ["one", "two \u2028 \u2029 \x85 two", "three"]
    lines = end.join(json.dumps({"text": value}, ensure_ascii=False) for value in values)
    assert texts(written(tmp_path, lines, "a.jsonl")) == values


@pytest.mark.parametrize("lead", ["", BOM, BOM * 2])
@pytest.mark.parametrize("joint", ["\n", "\n" + BOM, BOM, f"\n{BOM}{BOM}", f" {BOM} "])
def test_byte_order_marks_of_joined_files_are_no_part_of_records(
    tmp_path: Path, lead: str, joint: str
) -> None:
    lines = joint.join(json.dumps({"text": value}) for value in ("one", "two", "three"))
    assert texts(written(tmp_path, f"{lead}{lines}\n", "a.jsonl")) == ["one", "two", "three"]
    lists = f"{BOM}\n".join(json.dumps([{"text": value}]) for value in ("one", "two"))
    assert texts(written(tmp_path, f"{lead}{lists}{BOM}", "a.json")) == ["one", "two"]


@pytest.mark.parametrize("lead", ["", BOM, BOM * 2])
def test_byte_order_mark_at_the_start_of_a_line_begins_a_document(
    tmp_path: Path, lead: str
) -> None:
    joined = written(tmp_path, f"{lead}one\ntwo\n{BOM}three\n\n{BOM}four")
    assert texts(joined) == ["one\ntwo", "three", "four"]
    separated = written(tmp_path, f"{lead}one\n\n<|endoftext|>\ntwo\n{BOM}three<|endoftext|>")
    assert texts(separated) == ["one", "two", "three"]


def test_mark_inside_text_of_a_record_stays(tmp_path: Path) -> None:
    path = written(tmp_path, json.dumps({"text": f"a{BOM}b"}, ensure_ascii=False), "a.jsonl")
    assert texts(path) == [f"a{BOM}b"]


@pytest.mark.parametrize("separator", ["<|endoftext|>", "<|end_of_text|>"])
@pytest.mark.parametrize("form", ["{}", "\n{}\n", " {} ", "\r\n{}\r\n"])
def test_separators_end_documents_and_are_no_part_of_them(
    tmp_path: Path, separator: str, form: str
) -> None:
    between = form.format(separator)
    path = written(tmp_path, f"one\n\nmore{between}two{between}three{between}")
    assert [text.strip(" ") for text in texts(path)] == ["one\n\nmore", "two", "three"]
    assert len(texts(path, split="files")) == 1
    assert separator in texts(path, split="blank-lines")[-1]


def test_nothing_between_two_separators_is_a_blank_record(tmp_path: Path) -> None:
    path = written(tmp_path, "<|endoftext|>one<|endoftext|>\n<|endoftext|>two")
    assert texts(path) == ["one", "", "two"]


def test_given_separators_replace_those_of_public_data(tmp_path: Path) -> None:
    path = written(tmp_path, "one###two<|endoftext|>\n\nthree")
    assert texts(path, separators=("###",)) == ["one", "two<|endoftext|>\n\nthree"]


def test_each_file_of_a_folder_is_a_document_unless_it_has_separators(tmp_path: Path) -> None:
    written(tmp_path, "first\n\nstill first")
    written(tmp_path, "second<|endoftext|>third", "b/c.txt")
    written(tmp_path, "", "d.TXT")
    write_lines(tmp_path / "e.jsonl", [{"text": "fifth"}])
    written(tmp_path, "not read", "notes.md")
    assert texts(tmp_path) == ["first\n\nstill first", "second", "third", "", "fifth"]
    origins = [each.origin for each in read_records(tmp_path, "text")]
    assert origins == [
        ".txt, divided by files",
        *[".txt, divided by separators"] * 2,
        ".txt, divided by files",
        ".jsonl",
    ]
    assert texts(tmp_path, split="blank-lines")[:2] == ["first", "still first"]
    assert skipped_files(tmp_path) == 1


def test_hidden_files_of_a_folder_are_not_read(tmp_path: Path) -> None:
    written(tmp_path, "one\n\ntwo")
    hidden = (
        "__MACOSX/._a.jsonl",
        "._a.txt",
        ".ipynb_checkpoints/a.txt",
        "b/.git/c.json",
        ".x.txt",
    )
    for name in hidden:
        written(tmp_path, b"\x00\x05\x16\x07\xff", name)
    (tmp_path / "folder.txt").mkdir()
    assert files_at(tmp_path) == [tmp_path / "a.txt"]
    assert texts(tmp_path) == ["one", "two"]
    assert skipped_files(tmp_path) == len(hidden)
    assert list(checksums(tmp_path)) == [str(tmp_path / "a.txt")]


def test_link_to_a_folder_is_counted_and_not_followed(tmp_path: Path) -> None:
    written(tmp_path, "elsewhere", "other/b.txt")
    folder = tmp_path / "folder"
    written(tmp_path, "one", "folder/a.txt")
    (folder / "link").symlink_to(tmp_path / "other")
    (folder / "loop").symlink_to(folder)
    assert texts(folder) == ["one"]
    assert skipped_files(folder) == 2


def test_folder_below_a_hidden_one_is_read_if_it_is_named(tmp_path: Path) -> None:
    written(tmp_path, "one", ".cache/data/a.txt")
    assert texts(tmp_path / ".cache" / "data") == ["one"]


def test_json_lines_and_json_lists_give_the_same_documents(tmp_path: Path) -> None:
    lines, listed = write_lines(tmp_path / "a.jsonl"), tmp_path / "a.json"
    listed.write_text(json.dumps(RECORDS))
    found = [each.record for each in read_records(lines, "text")]
    assert found == [each.record for each in read_records(listed, "text")] == RECORDS


@pytest.mark.parametrize("joint", ["\n", "\r\n\r\n", f"\n{BOM}"])
def test_json_file_may_hold_a_record_on_each_line(tmp_path: Path, joint: str) -> None:
    path = written(tmp_path, joint.join(json.dumps(each) for each in RECORDS), "a.json")
    assert [each.record for each in read_records(path, "text")] == RECORDS
    assert {each.origin for each in read_records(path, "text")} == {".json"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b'{"text":\n"a"}', "a.json holds dict: give a list of records"),
        ("a.json", b'{"text": "a"}\n{"text": "b"}\n{"te', "a.json, line 3 is not JSON"),
        ("a.jsonl", b'{"text": "a"}\n\n{"text"\n', "a.jsonl, line 3 is not JSON"),
        ("a.jsonl", b'{"text": "a"}\n["a"]\n', "a.jsonl, line 2 holds list: give a JSON object"),
        ("a.jsonl", b'{"text": "a"}{"text": "b"}', "a.jsonl, line 1 is not JSON"),
        ("a.jsonl", b'{"body": "a", "id": 1}\n', "line 1 has no text in a field 'text', only body"),
        ("a.jsonl", b'{"text": true}\n', "line 1 has no text in its field 'text': True: give text"),
        ("a.jsonl", b'{"text": ["a"]}\n', r"no text in its field 'text': \['a'\]: give"),
        ("a.jsonl", b"{}\n", "only nothing: name the field by --text-field"),
        ("a.jsonl", b'{"text": "a", "text": "b"}', "line 1 has a key twice: 'text' is 'a' and 'b'"),
        (
            "a.jsonl",
            b'{"text": "a \\ud83d"}',
            r"line 1 has half of a surrogate pair, '\\ud83d', in",
        ),
        ("a.json", b'[{"text": "\\udc00\\ud800"}]', "record 0 has half of a surrogate pair"),
        ("a.json", b'{"text": "a"}', "a.json holds dict: give a list of records"),
        ("a.json", b'[{"text": "a"}, 5]', "a.json, record 1 holds int: give a JSON object"),
        ("a.json", b"[[", "a.json is not JSON"),
        ("a.txt", b"a\n\n\xff", "a.txt, line 3 is not UTF-8"),
        ("a.txt", b"a\r\r\xed\xa0\xbd", "a.txt, line 3 is not UTF-8"),  # an encoded surrogate
        ("a.txt", "text".encode("utf-16"), "a.txt, line 1 is not UTF-8"),
        ("a.txt", "text".encode("utf-16-le"), "line 1 has a NUL character, as UTF-16 has: convert"),
        ("a.md", b"text", "a.md cannot be read: give a file that ends in .csv, .json, .jsonl, .nd"),
    ],
)
def test_malformed_records_are_named(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        texts(written(tmp_path, content, name))
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()


def test_surrogate_pair_of_two_escapes_is_one_character(tmp_path: Path) -> None:
    assert texts(written(tmp_path, '{"text": "\\ud83d\\ude00"}', "a.jsonl")) == ["\U0001f600"]


def test_key_that_is_there_twice_with_one_value_is_read_once(tmp_path: Path) -> None:
    assert texts(written(tmp_path, '{"text": "a", "text": "a"}', "a.jsonl")) == ["a"]


def test_missing_files_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no file .*b\.txt"):
        texts(tmp_path / "b.txt")
    with pytest.raises(ValueError, match="holds no document"):
        texts(tmp_path)
