"""Data sets are streamed by `datasets`, here from local files; its refusals become one line."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import GatedRepoError

from lm.data.sources import SOURCES, Hub, hub_documents
from tests.lm.data.made import RECORDS, write_lines

datasets = pytest.importorskip("datasets")


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Put local files in place of the hub; return what is asked of it."""
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
        next(hub_documents(source))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("first", [0, 7, 60])
def test_documents_are_streamed_from_any_record_on(
    asked: list[tuple[Any, ...]], first: int
) -> None:
    found = list(hub_documents(SOURCES["wmdp-cyber-retain"], first))
    assert asked == [("cais/wmdp-corpora", "cyber-retain-corpus", "train", True)]
    assert [each.number for each in found] == list(range(first, 60))
    assert [dict(each.fields) for each in found] == RECORDS[first:]


def test_a_record_without_the_field_is_named(asked: list[tuple[Any, ...]]) -> None:
    told = message(Hub(dataset="some/data", field="body"))
    assert "some/data, record 0 has no text in a field 'body', only text, topic" in told
    assert asked


def test_a_gated_data_set_says_how_to_get_access(monkeypatch: pytest.MonkeyPatch) -> None:
    error = datasets.exceptions.DatasetNotFoundError("cannot be accessed.\nLog in")
    error.__cause__ = GatedRepoError.__new__(GatedRepoError)
    refuse(monkeypatch, error)
    told = message(SOURCES["wmdp-bio-forget"])
    page = "https://huggingface.co/datasets/cais/wmdp-bio-forget-corpus"
    assert f"request access on {page}, then log in by `hf auth login`" in told


def test_without_a_network_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, ConnectionError("Couldn't reach it\n..."))
    assert "the hub is out of reach (Couldn't reach it)" in message(SOURCES["tinystories"])


def test_an_unknown_data_set_or_subset_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, ValueError("BuilderConfig 'x' not found. Available: ['a']"))
    told = message(Hub(dataset="some/data", subset="x"))
    assert "BuilderConfig 'x' not found" in told
    assert "check the name, --subset and --split" in told


def test_a_network_that_fails_on_the_way_is_told_with_the_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Failing:
        def skip(self, _: int) -> Iterator[dict[str, str]]:
            yield {"text": "a"}
            raise ConnectionError("gone\n...")

    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: Failing())
    found = hub_documents(Hub(dataset="some/data"))
    assert next(found).text == "a"
    with pytest.raises(ValueError, match=r"cannot be read beyond record 1 \(gone\): check the"):
        next(found)


def test_without_the_extra_the_error_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert "pip install -e '.[hf]'" in message(SOURCES["tinystories"])
