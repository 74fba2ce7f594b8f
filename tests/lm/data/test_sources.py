"""Documents of local files and of a fake hub."""

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import GatedRepoError

from lm.data.sources import (
    SOURCES,
    Files,
    Hub,
    documents,
    find_source,
    source_settings,
)
from tests.lm.data.factories import RECORDS, write_lines


def test_find_source_resolves_short_names() -> None:
    assert find_source("wikitext") == SOURCES["wikitext"]
    changed = find_source("wikitext", "wikitext-2-raw-v1", "test", "page")
    assert changed == Hub(
        dataset="Salesforce/wikitext", subset="wikitext-2-raw-v1", split="test", field="page"
    )


def test_find_source_accepts_any_name_on_the_hub() -> None:
    assert find_source("some.one/data_set", subset="a") == Hub(
        dataset="some.one/data_set", subset="a"
    )


def test_find_source_prefers_local_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wikitext").mkdir()
    path = write_lines(tmp_path / "wikitext" / "a.jsonl")
    assert find_source("wikitext", field="body") == Files(path=Path("wikitext"), field="body")
    checksums = {"wikitext/a.jsonl": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert source_settings(find_source("wikitext"))["files"] == checksums


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("tinystory", "'tinystory' is no file or folder, nor a data set: choose from fineweb-edu"),
        ("", "'' is no file or folder, nor a data set"),
        ("a/b/c", "give OWNER/NAME of one on the hub"),
        ("data/stories.jsonl", "there is no file data/stories.jsonl"),
        ("./stories", "there is no file stories"),
    ],
)
def test_find_source_refuses_unknown_names_and_paths(data: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_source(data)


def test_find_source_refuses_a_split_of_files(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl")
    with pytest.raises(ValueError, match="files have no subset or split"):
        find_source(str(path), split="train")


@pytest.mark.parametrize("separators", [("",), (" ",), ("a\nb",), ()])
def test_files_refuse_separators_that_end_no_document(separators: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="give one or more, each visible and within a line"):
        Files(path=Path("a.txt"), text_split="separators", separators=separators)


def texts(path: Path, first: int = 0) -> list[tuple[int, str]]:
    return [(each.number, each.text) for each in documents(Files(path=path), first)]


@pytest.mark.parametrize("data", ["wikitext", "owner/name", "a.jsonl"])
def test_find_source_refuses_to_divide_what_is_no_text_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_lines(Path("a.jsonl"))
    with pytest.raises(ValueError, match=f"{data} has no .txt file, and text_split 'files' was"):
        find_source(data, text_split="files")


def test_reading_can_start_at_any_record(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl")
    everything = texts(path)
    for first in (0, 1, 59, 60, 99):
        again = documents(Files(path=path), first)
        assert [(each.number, each.text) for each in again] == everything[first:]


datasets = pytest.importorskip("datasets")


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Replace the hub by local files, and return the list of requests to it."""
    path, load = write_lines(tmp_path / "a.jsonl"), datasets.load_dataset
    questions: list[tuple[Any, ...]] = []

    def local(name: str, subset: str | None, *, split: str, streaming: bool) -> Any:  # noqa: ANN401
        questions.append((name, subset, split, streaming))
        cache = str(tmp_path / "cache")
        return load(
            "json", data_files=str(path), split="train", streaming=streaming, cache_dir=cache
        )

    monkeypatch.setattr(datasets, "load_dataset", local)
    return questions


def refuse(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def load(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load)


def message(source: Hub) -> str:
    with pytest.raises(ValueError, match=source.dataset) as caught:
        next(documents(source))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("first", [0, 7, 60])
def test_hub_documents_can_start_at_any_record(asked: list[tuple[Any, ...]], first: int) -> None:
    found = list(documents(SOURCES["wmdp-cyber-retain"], first))
    assert asked == [("cais/wmdp-corpora", "cyber-retain-corpus", "train", True)]
    assert [each.number for each in found] == list(range(first, 60))
    assert [dict(each.fields) for each in found] == RECORDS[first:]


def test_hub_record_without_the_text_field_is_named(asked: list[tuple[Any, ...]]) -> None:
    error = message(Hub(dataset="some/data", field="body"))
    assert "some/data, record 0 has no text in a field 'body', only text, topic" in error
    assert asked


def test_error_explains_access_when_a_data_set_is_gated(monkeypatch: pytest.MonkeyPatch) -> None:
    error = datasets.exceptions.DatasetNotFoundError("cannot be accessed.\nLog in")
    error.__cause__ = GatedRepoError.__new__(GatedRepoError)
    refuse(monkeypatch, error)
    error = message(SOURCES["wmdp-bio-forget"])
    page = "https://huggingface.co/datasets/cais/wmdp-bio-forget-corpus"
    assert f"request access on {page}, then log in by `hf auth login`" in error


def test_error_names_the_network_when_the_hub_is_unreachable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refuse(monkeypatch, ConnectionError("Couldn't reach it\n..."))
    assert "the hub is out of reach (Couldn't reach it)" in message(SOURCES["tinystories"])


def test_hub_documents_refuses_an_unknown_data_set_or_subset(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refuse(monkeypatch, ValueError("BuilderConfig 'x' not found. Available: ['a']"))
    error = message(Hub(dataset="some/data", subset="x"))
    assert "BuilderConfig 'x' not found" in error
    assert "check the name, --subset and --split" in error


def test_error_names_the_record_when_the_network_fails_midway(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Failing:
        def skip(self, _: int) -> Iterator[dict[str, str]]:
            yield {"text": "a"}
            raise ConnectionError("gone\n...")

    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: Failing())
    found = documents(Hub(dataset="some/data"))
    assert next(found).text == "a"
    with pytest.raises(ValueError, match=r"cannot be read beyond record 1 \(gone\): check the"):
        next(found)


def test_error_explains_installation_without_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert "pip install -e '.[hf]'" in message(SOURCES["tinystories"])
