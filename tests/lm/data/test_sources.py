"""A name or path says where documents come from."""

from pathlib import Path

import pytest

from lm.data.sources import SOURCES, Files, Hub, find_source, source_settings
from tests.lm.data.made import write_lines


def test_short_names_are_data_sets_of_the_hub() -> None:
    assert find_source("wikitext") == SOURCES["wikitext"]
    changed = find_source("wikitext", "wikitext-2-raw-v1", "test", "page")
    assert changed == Hub(
        dataset="Salesforce/wikitext", subset="wikitext-2-raw-v1", split="test", field="page"
    )


def test_other_names_are_taken_as_they_are() -> None:
    assert find_source("some.one/data_set", subset="a") == Hub(
        dataset="some.one/data_set", subset="a"
    )


def test_what_lies_on_the_disk_is_preferred(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wikitext").mkdir()
    path = write_lines(tmp_path / "wikitext" / "a.jsonl")
    assert find_source("wikitext", field="body") == Files(path=Path("wikitext"), field="body")
    sizes = {"wikitext/a.jsonl": path.stat().st_size}
    assert source_settings(find_source("wikitext"))["files"] == sizes


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("tinystory", "'tinystory' is no file or folder, nor a data set: choose from fineweb-edu"),
        ("a/b/c", "give OWNER/NAME of one on the hub"),
        ("data/stories.jsonl", "there is no file data/stories.jsonl"),
        ("./stories", "there is no file stories"),
    ],
)
def test_what_is_neither_is_refused(data: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_source(data)


def test_files_have_no_subset(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl")
    with pytest.raises(ValueError, match="files have no subset or split"):
        find_source(str(path), split="train")
