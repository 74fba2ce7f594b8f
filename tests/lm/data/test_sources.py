"""Documents of local files and of a fake hub."""

import hashlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from huggingface_hub.errors import GatedRepoError

from lm.data.sources import (
    SOURCES,
    Files,
    Hub,
    documents,
    find_source,
    read_documents,
    source_settings,
)
from tests.lm.data.factories import RECORDS, make_tokenizer, write_lines, write_records


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


TEXTS = ["The forest.", "The sea.", "A tree."]


def as_written(texts: Sequence[object], folder: Path, kind: str) -> object:
    """Return texts as a source of some kind; a list of paths has the last text in its own file."""
    records = [{"text": text} for text in texts]
    path = folder / "in" / "a.csv"
    path.parent.mkdir()
    write_records(path, records[:-1])
    write_records(path.with_name("b.parquet"), records[-1:])
    files = sorted(path.parent.iterdir())
    return {
        "list": list(texts),
        "generator": (text for text in texts),
        "records": records,
        "data set": datasets.Dataset.from_list(records),
        "stream": datasets.Dataset.from_list(records).to_iterable_dataset(),
        "column": datasets.Dataset.from_list(records)["text"],
        "frame": pd.DataFrame(records),
        "folder": path.parent,
        "name of a folder": str(path.parent),
        "paths": files,
        "names": [str(path.parent), *map(str, files)],
        "files": Files(path=path.parent),
    }[kind]


KINDS = (
    *("list", "generator", "records", "data set", "stream", "column", "frame", "folder"),
    *("name of a folder", "paths", "names", "files"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_documents_are_the_same_from_every_kind_of_source(tmp_path: Path, kind: str) -> None:
    stream = read_documents(as_written([*TEXTS[:2], None, " ", TEXTS[2]], tmp_path, kind))
    assert [each.text for each in stream] == TEXTS
    assert (stream.records, stream.blank, stream.skipped_files) == (5, 2, 0)
    assert stream.sentences() == ["records without text, which were skipped: 2"]
    assert list(stream) == []


@pytest.mark.parametrize("kind", ["records", "data set", "folder", "name of a folder", "paths"])
def test_field_of_the_text_is_chosen_by_name(tmp_path: Path, kind: str) -> None:
    source = as_written(TEXTS, tmp_path, kind)
    with pytest.raises(ValueError, match=r"has no text in a field 'meta\.body', only text"):
        next(read_documents(source, "meta.body"))


def test_files_that_are_not_read_are_counted_in_each_folder(tmp_path: Path) -> None:
    for name in (
        "a/__MACOSX/._x.csv",
        "a/.DS_Store",
        "a/notes.md",
        "a/x.txt",
        "b/y.TXT",
        "b/z.zip",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("one\n\ntwo")
    stream = read_documents([tmp_path / "a", tmp_path / "b", tmp_path / "a" / "x.txt"])
    assert [each.text for each in stream] == ["one\n\ntwo"] * 2  # each file once, and is a text
    assert stream.skipped_files == 4
    told = "files that were not read, hidden or of other kinds, and links to folders or pages: 4"
    assert stream.sentences() == [told]
    alone = read_documents(tmp_path / "a", text_split="blank-lines")
    assert [each.text for each in alone] == ["one", "two"]


def test_conversations_are_read_from_lists() -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }};{% endfor %}"
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    for source in ([messages], [{"messages": messages}]):
        assert [each.text for each in read_documents(source, tokenizer=tokenizer)] == ["a;b;"]
        with pytest.raises(ValueError, match="record 0 has a conversation, and the tokenizer has"):
            next(read_documents(source))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("a text", "'a text' is no file or folder, nor a data set"),
        (Path("gone.csv"), "there is no file gone.csv"),
        ([Path("gone.csv")], "there is no file gone.csv"),
        (["gone.csv", "gone.TXT.gz"], "there is no file gone.csv"),
        (["a text", "gone.csv"], "'gone.csv' is the name of a file, and stands in a list of texts"),
        ({"train": ["a"], "test": ["b"]}, "a dict of train, test was given: give the data set"),
        (5, "5 was given: give texts, records, a data set, or paths of files"),
        (None, "null was given: give texts"),
        (b"text", "b'text' was given"),
        ([["a"]], r"record 0 has no text in its field 'text': \['a'\]"),
        ([{"id": 1}], "record 0 has no text in a field 'text', only id"),
    ],
)
def test_what_holds_no_texts_is_refused(source: object, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        list(read_documents(source))
    assert "\n" not in str(caught.value)


def test_text_that_is_the_name_of_a_file_may_be_a_record() -> None:
    found = read_documents([{"text": "gone.csv"}, {"text": "a text"}])
    assert [each.text for each in found] == ["gone.csv", "a text"]
    assert [each.text for each in read_documents(["see gone.csv", "a"])] == ["see gone.csv", "a"]
    assert list(read_documents([])) == []


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
