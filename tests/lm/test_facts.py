"""`python -m lm.facts` writes texts and questions that the other commands read."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lm import facts
from lm.data.facts import TOPICS, Fact
from lm.evaluation.harness import read_questions
from oversight.runs import cli
from tests.lm.data.fact_factories import CAPITALS
from tests.lm.evaluation.question_factories import random_plain_model, small_tokenizer

SYMBOLS = [
    *(Fact("boron", "B"), Fact("carbon", "C"), Fact("gold", "Au"), Fact("iron", "Fe")),
    *(Fact("neon", "Ne"), Fact("silver", "Ag"), Fact("sulfur", "S"), Fact("tin", "Sn")),
]


@pytest.fixture(autouse=True)
def _small_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    landlocked = [Fact("Rwanda", "Kigali"), Fact("Nepal", "Kathmandu"), Fact("Zambia", "Lusaka")]
    for name, some in {"capitals": [*CAPITALS, *landlocked], "elements": SYMBOLS}.items():
        topic = replace(TOPICS[name], read=partial(list, some))
        monkeypatch.setitem(TOPICS, name, topic)


def call(out: Path, *more: str) -> int:
    flags = ["--out", str(out), "--retain", "elements", "--facts", "8", *more]
    return cli.run(facts.main, flags)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_texts_and_questions_of_both_kinds_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(tmp_path) == 0
    printed = capsys.readouterr().out
    assert "capitals      9 facts,    8 written" in printed
    stated = {name: read(tmp_path / f"{name}.jsonl") for name in ("forget", "retain")}
    assert {name: len(records) for name, records in stated.items()} == {"forget": 80, "retain": 80}
    for name, kind in (("questions", "forget"), ("retain_questions", "retain")):
        (source,) = read_questions(tmp_path / f"{name}.jsonl")
        for asked in source.questions:
            right = asked["choices"][asked["answer"]]
            assert {"text": f"{asked['statement']} {right}."}.items() <= next(
                each.items() for each in stated[kind] if each["answer"] == right
            )


def test_relearning_texts_do_not_state_what_is_asked_then(tmp_path: Path) -> None:
    assert call(tmp_path) == 0
    stated = {each["answer"] for each in read(tmp_path / "relearn.jsonl")}
    records = read(tmp_path / "relearn_questions.jsonl")
    named = {choice for record in records for choice in record["choices"]}
    assert len(records) == 4
    assert not stated & named


def test_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert call(tmp_path / name, "--seed", "3") == 0
    assert call(tmp_path / "c", "--seed", "4") == 0
    contents = [
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in "abc"
    ]
    assert contents[0] == contents[1] != contents[2]
    assert len(contents[0]) == 6


def test_only_known_facts_of_a_model_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    random_plain_model("llama").save_pretrained(tmp_path / "model")
    small_tokenizer(begins=True).save_pretrained(tmp_path / "model")
    from lm.evaluation import known  # noqa: PLC0415 (the command imports it only here)

    monkeypatch.setattr(known, "known_facts", lambda *args: args[4][:8])
    assert call(tmp_path / "out", "--model", str(tmp_path / "model")) == 0
    assert "capitals      9 facts,    8 known to the model,    8 written" in capsys.readouterr().out
    assert {each["answer"] for each in read(tmp_path / "out" / "retain.jsonl")} == {
        fact.answer for fact in SYMBOLS
    }


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--forget", "rivers"), "unknown topic 'rivers': choose from capitals, elements"),
        (("--forget", "elements"), "elements is to be forgotten and retained: choose one"),
        (("--facts", "9"), "9 facts of a topic were asked for, and one has 8: ask for fewer"),
        (("--facts", "6"), "have 3 answers, and a question has 4 choices: ask about more facts"),
        (("--gguf-file", "a.gguf"), "--gguf-file a.gguf was given without --model: give both"),
        (("--seed", "-1"), "seed"),
    ],
)
def test_impossible_settings_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], message: str
) -> None:
    assert call(tmp_path / "out", *more) == 2
    assert message in (error := capsys.readouterr().err)
    assert len(error.splitlines()) == 1
