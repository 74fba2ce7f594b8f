"""Questions of files: read as they stand, and refused by the line."""

import json
from pathlib import Path
from typing import Any

import pytest

from lm.benchmarks.questions import Question, QuestionSet, read_questions

SPIDER = {"question": "How many legs has a spider?", "choices": ["six", "eight"], "answer": 1}
CAT = {"question": "  \u00c9t\u00e9? ", "choices": [" a", "b", "b"], "answer": 0, "subject": "cats"}
BOTH = (
    Question("How many legs has a spider?", ("six", "eight"), 1),
    Question("  \u00c9t\u00e9? ", (" a", "b", "b"), 0, "cats"),
)


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_both_kinds_of_files_hold_the_same_questions(tmp_path: Path) -> None:
    lines = written(tmp_path / "a.jsonl", f"{json.dumps(SPIDER)}\n\n{json.dumps(CAT)}\n")
    whole = written(tmp_path / "a.json", json.dumps([SPIDER, CAT], ensure_ascii=False))
    assert read_questions(lines).questions == BOTH
    assert read_questions(whole).questions == BOTH
    assert read_questions(lines).name == str(lines)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"answer": 2}, "answer is 2: give the number of one of the 2 choices, from 0 to 1"),
        ({"answer": -1}, "answer is -1: give"),
        ({"answer": "B"}, "answer is str: give a whole number"),
        ({"answer": True}, "answer is bool"),
        ({"choices": ["six"], "answer": 0}, "it has 1 choices: give from 2 to 26"),
        ({"choices": ["six", 8]}, "choices is list: give a list of texts"),
        ({"choices": "six"}, "choices is str"),
        ({"question": None}, "question is NoneType: give a text"),
        ({"subject": 3}, "subject is int"),
    ],
)
def test_a_malformed_question_is_refused_by_its_line(
    tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    wrong = {**SPIDER, **change}
    lines = written(tmp_path / "a.jsonl", f"{json.dumps(SPIDER)}\n\n{json.dumps(wrong)}\n")
    with pytest.raises(ValueError, match=r"a\.jsonl, line 3.*" + told):
        read_questions(lines)
    text = f"[\n{json.dumps(SPIDER, indent=1)},\n{json.dumps(wrong)}\n]"
    line = text.split("\n").index(json.dumps(wrong)) + 1
    with pytest.raises(ValueError, match=rf"a\.json, line {line}.*" + told):
        read_questions(written(tmp_path / "a.json", text))


@pytest.mark.parametrize("field", ["question", "choices", "answer"])
def test_a_missing_field_is_named(tmp_path: Path, field: str) -> None:
    record = {name: value for name, value in SPIDER.items() if name != field}
    with pytest.raises(ValueError, match=f"line 1 lacks {field}"):
        read_questions(written(tmp_path / "a.jsonl", json.dumps(record)))


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.jsonl", "{\n", "line 1 is not JSON"),
        ("a.json", "[", "is not JSON"),
        ("a.json", "{}", "holds dict: give a list"),
        ("a.json", "[3]", "line 1 is int: give an object"),
        ("a.json", "[]", "holds no questions"),
        ("a.jsonl", "\n", "holds no questions"),
        ("a.txt", "x", "ends in .json or .jsonl"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, name: str, text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        read_questions(written(tmp_path / name, text))


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        read_questions(tmp_path / "none.json")
    (tmp_path / "a.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="not UTF-8"):
        read_questions(tmp_path / "a.json")


def test_examples_are_the_first_of_the_subject_and_never_too_few() -> None:
    spider, cat = BOTH
    questions = QuestionSet("made", BOTH, {"cats": (cat, cat)})
    assert questions.shown(cat, 1) == (cat,)
    assert questions.shown(spider, 0) == ()
    with pytest.raises(ValueError, match="3 examples were asked for, and made has 2 on cats"):
        questions.shown(cat, 3)
    with pytest.raises(ValueError, match="made has 0: ask without"):
        questions.shown(spider, 1)
