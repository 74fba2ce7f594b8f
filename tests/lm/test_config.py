"""Tests of the settings of texts, and of their preparation from two lists."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lm.config import RunConfig, StudyConfig
from lm.data.preparation import prepare
from lm.data.shards import Shards
from lm.data.task import TaskConfig
from lm.data.texts import TextsConfig
from lm.training.distributed import ScaleConfig
from lm.training.loop import LoopConfig
from lm.training.profiles import GramConfig
from lm.training.route_tables import FORGET, RETAIN
from tests.lm.data.factories import make_tokenizer, write_lines

TOKENIZER = make_tokenizer()


@pytest.fixture
def texts(tmp_path: Path) -> TextsConfig:
    """Return three files of texts, two of which are to be forgotten."""
    files = [
        write_lines(tmp_path / f"{name}.jsonl", [{"body": each} for each in said])
        for name, said in (("a", ["old", "", "wood"]), ("b", ["fir"]), ("c", ["sea", "sky"]))
    ]
    return TextsConfig(forget=tuple(files[:2]), retain=(files[2],), text_field="body", context=9)


def test_documents_are_labeled_by_the_list_they_are_in(texts: TextsConfig, tmp_path: Path) -> None:
    shards = Shards(tmp_path / "out", prepare(texts.preparation, TOKENIZER, tmp_path / "out"))
    said = [TOKENIZER.decode(shards.document(n)[0][:-1]) for n in range(len(shards))]
    assert said == ["old", "wood", "fir", "sea", "sky"]
    assert shards.document_labels().tolist() == [FORGET] * 3 + [RETAIN] * 2
    assert shards.manifest.findings["blank"] == 1
    assert shards.manifest.settings["pools"] == "fitted"


def test_words_of_a_field_alone_are_labeled_forget(texts: TextsConfig, tmp_path: Path) -> None:
    said = [{"body": "old fir", "name": "fir"}, {"body": "old oak", "name": "fir"}]
    write_lines(texts.forget[0], said)
    named = replace(texts, forget=texts.forget[:1], forget_field="name")
    shards = Shards(tmp_path / "out", prepare(named.preparation, TOKENIZER, tmp_path / "out"))
    tokens, labels = shards.document(0)
    assert TOKENIZER.decode(tokens[labels == FORGET]).strip() == "fir"
    assert shards.document_labels().tolist() == [FORGET] + [RETAIN] * 3
    assert shards.manifest.findings["missing_words"] == 1
    missing = replace(named, forget_field="nam")
    with pytest.raises(ValueError, match="text 0 to forget has no field 'nam', only body, name:"):
        prepare(missing.preparation, TOKENIZER, tmp_path / "other")


def test_interrupted_preparation_resumes_with_the_same_shards(
    texts: TextsConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = prepare(texts.preparation, TOKENIZER, tmp_path / "whole")
    monkeypatch.setattr("lm.data.preparation.TOKENIZER_BATCH", 2)
    monkeypatch.setattr(TextsConfig, "preparation", texts.preparation)
    with monkeypatch.context() as patch:
        patch.setattr("lm.data.preparation.find", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            prepare(texts.preparation, TOKENIZER, tmp_path / "part")
    resumed = prepare(texts.preparation, TOKENIZER, tmp_path / "part")
    assert (resumed.digest, resumed.documents) == (whole.digest, whole.documents)


def test_changed_file_is_refused(texts: TextsConfig, tmp_path: Path) -> None:
    prepare(texts.preparation, TOKENIZER, tmp_path / "out")
    write_lines(texts.retain[0], [{"body": "lake"}])
    with pytest.raises(ValueError, match=r"prepared from other files \(.*c\.jsonl changed\)"):
        prepare(texts.preparation, TOKENIZER, tmp_path / "out")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"forget": (Path("a.txt"),)}, "texts to forget were given, and none to retain: name"),
        ({"retain": (Path("a.txt"),)}, "texts to retain were given, and none to forget: name"),
        ({"context": 1}, "context 1 was given: give 2 or more"),
        ({"relearn": (Path("a.txt"),)}, "of --relearn and --relearn-questions, one was given"),
        ({"relearn_questions": "a.json"}, "of --relearn and --relearn-questions, one was given"),
        ({"forget_field": "name"}, "--forget-field name was given without texts: name those"),
    ],
)
def test_incomplete_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TextsConfig(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": Path("shards")}, "--profiles was given with documents of shards"),
        (
            {"task": TaskConfig(forget=tuple("abcdefghi"))},
            "9 topics to forget, which have 512 profiles: give at most 8",
        ),
        (
            {"loop": LoopConfig(scale=ScaleConfig(parallel="fsdp"))},
            "--profiles was given with fsdp, which shards the model",
        ),
    ],
)
def test_profiles_that_cannot_be_examined_are_refused(
    settings: dict[str, object], message: str
) -> None:
    RunConfig(**settings)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        RunConfig(profiles=True, **settings)  # type: ignore[arg-type]


def test_experts_in_a_pretrained_model_are_refused() -> None:
    study = StudyConfig(method=("unrouted", "demix"), run=RunConfig(model="some/model"))
    with pytest.raises(ValueError, match=r"demix trains new models.*--model some/model was given"):
        study.require_fitting_methods()


@pytest.mark.parametrize(
    ("settings", "given"),
    [
        ({"model": "some/model"}, "--model some/model"),
        ({"loop": LoopConfig(scale=ScaleConfig(compile=True))}, "--loop.scale.compile"),
        ({"loop": LoopConfig(scale=ScaleConfig(parallel="fsdp"))}, "--loop.scale.parallel fsdp"),
        ({"loop": LoopConfig(scale=ScaleConfig(accumulate=2))}, "--loop.scale.accumulate 2"),
    ],
)
def test_modules_that_cannot_be_silenced_are_refused(settings: dict[str, Any], given: str) -> None:
    run = RunConfig(gram=GramConfig(silence=3.0), **settings)
    with pytest.raises(ValueError, match=rf"gram\.silence 3\.0 was given with {given}: modules"):
        StudyConfig(method=("gram",), run=run).require_fitting_methods()
    StudyConfig(method=("filtered",), run=run).require_fitting_methods()  # it has no modules


def test_missing_file_is_refused() -> None:
    with pytest.raises(ValueError, match=r"there is no file nowhere\.txt"):
        _ = TextsConfig(forget=(Path("nowhere.txt"),), retain=(Path("."),)).preparation


def test_methods_that_assign_texts_by_the_model_in_training_are_refused_with_fsdp() -> None:
    run = RunConfig(
        task=TaskConfig(forget=("forest", "sea")),
        loop=LoopConfig(scale=ScaleConfig(parallel="fsdp")),
    )
    with pytest.raises(ValueError, match="gram-em was given with fsdp"):
        StudyConfig(method=("gram-em",), run=run).require_fitting_methods()
