"""Lines are read from plain and compressed files alike, and damage is refused."""

import sys
from pathlib import Path

import pytest

from lm.data.files import has_known_suffix
from lm.data.lines import ended_lines, read_lines, suffix_of, whole_suffix
from tests.lm.data.factories import write_compressed

COMPRESSIONS = ("", ".gz", ".zst", ".GZ")
LONG = "".join(f"line {n} of {n * n}\n" for n in range(3000))


@pytest.mark.parametrize(
    ("name", "suffix", "whole"),
    [
        ("a.JSONL", ".jsonl", ".jsonl"),
        ("a.b.Txt.GZ", ".txt", ".txt.gz"),
        ("a.parquet.zst", ".parquet", ".parquet.zst"),
        ("a.tar.gz", ".tar", ".tar.gz"),
        ("a.gz", "", ".gz"),
        ("a", "", ""),
    ],
)
def test_suffix_is_that_of_the_format(name: str, suffix: str, whole: str) -> None:
    assert suffix_of(Path(name)) == suffix
    assert whole_suffix(Path(name)) == whole
    assert has_known_suffix(Path(name)) == (suffix in (".jsonl", ".txt", ".parquet"))


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_lines_are_those_of_the_uncompressed_file(tmp_path: Path, compression: str) -> None:
    content = "one\r\ntwo\rthr\u00e9\u00e9\n\nfive"
    path = write_compressed(tmp_path / f"a.txt{compression}", content.encode())
    assert [line for _, line in read_lines(path)] == ["one", "two", "thr\u00e9\u00e9", "", "five"]
    assert "".join(line for _, line in ended_lines(path)) == content


@pytest.mark.parametrize("compression", [".gz", ".zst"])
def test_compressed_files_may_be_put_together(tmp_path: Path, compression: str) -> None:
    path = write_compressed(tmp_path / f"a.txt{compression}", b"one\n")
    other = write_compressed(tmp_path / f"b.txt{compression}", b"two\n")
    path.write_bytes(path.read_bytes() + other.read_bytes())
    assert list(read_lines(path)) == [(1, "one"), (2, "two")]


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\n\n\xff", "line 3 is not UTF-8"),
        (b"a\r\r\xed\xa0\xbd", "line 3 is not UTF-8"),
        (b"a\nb\0", "line 2 has a NUL character"),
    ],
)
def test_place_of_invalid_unicode_is_named(
    tmp_path: Path, compression: str, content: bytes, message: str
) -> None:
    path = write_compressed(tmp_path / f"a.txt{compression}", content)
    with pytest.raises(ValueError, match=rf"a\.txt{compression}, {message}"):
        list(read_lines(path))


@pytest.mark.parametrize("compression", [".gz", ".zst"])
@pytest.mark.parametrize("damage", ["cut", "empty", "other", "changed", "longer"])
def test_damaged_files_are_refused_in_one_line(
    tmp_path: Path, compression: str, damage: str
) -> None:
    path = write_compressed(tmp_path / f"a.txt{compression}", LONG.encode())
    whole = path.read_bytes()
    half = len(whole) // 2
    damaged = {
        "cut": whole[:half],
        "empty": b"",
        "other": b"no compressed file",
        "changed": whole[:half] + bytes(each ^ 255 for each in whole[half:]),
        "longer": whole + b"more",
    }
    path.write_bytes(damaged[damage])
    with pytest.raises(
        ValueError, match=r"cannot be read \(.+\): it is truncated or dam"
    ) as caught:
        list(read_lines(path))
    assert str(caught.value).isprintable()


def test_missing_package_and_missing_permission_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_compressed(tmp_path / "a.txt.zst", b"a")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r"needs the package `pyarrow`: pip install -e '.\[hf\]'"):
        list(read_lines(path))
    with pytest.raises(ValueError, match=r"cannot be read \(No such file or directory\)$"):
        list(read_lines(tmp_path / "b.txt.gz"))


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_reading_may_end_early(tmp_path: Path, compression: str) -> None:
    path = write_compressed(tmp_path / f"a.txt{compression}", LONG.encode())
    assert next(read_lines(path)) == (1, "line 0 of 0")
