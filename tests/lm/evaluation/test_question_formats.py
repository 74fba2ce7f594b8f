"""Tests of the shapes of records of questions, and of what answers mean."""

import json
from pathlib import Path
from typing import Any

import pytest

from lm.evaluation.harness import read_questions
from lm.evaluation.question_formats import repeats

LEGS = ["six", "eight", "Ten", "none"]
SPIDER = {"question": "How many legs?", "choices": LEGS}


def read(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Return a record as it is read from a file."""
    path = folder / "asked.jsonl"
    path.write_text(json.dumps(record) + "\n", encoding="utf-8")
    (source,) = read_questions(path)
    return dict(source.questions[0])


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        *((1, 1), (1.0, 1), ("1", 1), (" 3 ", 3)),
        *(("B", 1), ("b", 1), ("(D)", 3), ("A.", 0), ("C)", 2)),
        *(("eight", 1), (" six ", 0), ("ten", 2), ("NONE", 3)),
    ],
)
def test_answer_may_be_a_number_a_letter_or_the_text_of_a_choice(
    tmp_path: Path, answer: object, number: int
) -> None:
    expected = {**SPIDER, "answer": number, "subject": ""}
    assert read(tmp_path, {**SPIDER, "answer": answer}) == expected


@pytest.mark.parametrize("answer", ["cafe\u0301", "CAFE\u0301", "caf\u00e9\u200b", "\u200eB"])
def test_answer_may_be_in_another_form_of_unicode(tmp_path: Path, answer: str) -> None:
    record = {"question": "Which?", "choices": ["tea", "caf\u00e9"], "answer": answer}
    assert read(tmp_path, record)["answer"] == 1


@pytest.mark.parametrize(
    ("choices", "answer", "means"),
    [
        (["1", "2", "3"], "1", "0, 1"),
        (["B", "A"], "A", "0, 1"),
        (["x", "same", "same"], "same", "1, 2"),
        (["a", "b"], "B", None),  # the letter and the text mean the same choice
        (["2", "0", "1"], "0", "0, 1"),
        (["3", "1"], "1", None),
    ],
)
def test_answer_is_refused_when_it_means_several_choices(
    tmp_path: Path, choices: list[str], answer: str, means: str | None
) -> None:
    record = {"question": "Which?", "choices": choices, "answer": answer}
    if means is None:
        assert read(tmp_path, record)["answer"] == 1
        return
    with pytest.raises(
        ValueError, match=f"line 1: its answer is {answer}, which means the choices"
    ):
        read(tmp_path, record)


@pytest.mark.parametrize(
    "answer", [4, -1, "4", "E", "seven", "", "AB", "1.5", None, True, [1], 0.5]
)
def test_answer_is_refused_when_it_means_no_choice(tmp_path: Path, answer: object) -> None:
    with pytest.raises(ValueError, match="line 1: its answer is"):
        read(tmp_path, {**SPIDER, "answer": answer})


LETTERED = dict(zip("ABCD", LEGS, strict=True))


@pytest.mark.parametrize(
    "record",
    [
        {**SPIDER, "answer": 1},  # WMDP, and MMLU on the hub
        {"question": "How many legs?", **LETTERED, "answer": "B"},  # MMLU as tables
        {"input": "How many legs?", **LETTERED, "target": "B"},
        {"question": "How many legs?", "options": LEGS, "answer": "B", "answer_index": 1},
        {
            "id": "q1",
            "question": "How many legs?",
            "choices": {"text": LEGS, "label": ["A", "B", "C", "D"]},
            "answerKey": "B",
        },
        {
            "question": "How many legs?",
            "choices": {"text": LEGS, "label": ["1", "2", "3", "4"]},
            "answerKey": "2",
        },
        {
            "question": {
                "stem": "How many legs?",
                "choices": [{"text": text, "label": label} for label, text in LETTERED.items()],
            },
            "answerKey": "B",
        },
        {"question": "How many legs?", "choices": LETTERED, "answer": "B"},
        {**SPIDER, "answer": "B", "labels": ["of", "something", "else"]},
    ],
)
def test_shapes_of_public_data_sets_give_the_same_question(
    tmp_path: Path, record: dict[str, Any]
) -> None:
    assert read(tmp_path, record) == {**SPIDER, "answer": 1, "subject": ""}
    assert read(tmp_path, {**record, "subject": "legs"})["subject"] == "legs"


@pytest.mark.parametrize(
    "choices",
    [
        {"text": LEGS, "label": ["A", "A", "B", "C"]},
        {"text": LEGS, "label": ["A", "B"]},
        [{"text": "six"}, {"label": "B"}],
        {"text": "six", "label": "A"},
    ],
)
def test_choices_with_unusable_labels_are_refused(tmp_path: Path, choices: object) -> None:
    with pytest.raises(ValueError, match=r"line 1: its choices is|line 1: it has 4 choices with"):
        read(tmp_path, {"question": "How many?", "choices": choices, "answerKey": "A"})


def test_repeated_questions_and_equal_choices_are_counted() -> None:
    made = [
        {"question": "a", "choices": ["b", "c"]},
        {"question": "a", "choices": ["b", "d"]},
        {"question": " a", "choices": ["b", "c\u200b"]},
        {"question": "e", "choices": ["cafe\u0301", "c", "caf\u00e9 "]},
    ]
    assert repeats(made[:2]) == []
    assert repeats(made) == [
        "warning: questions with two equal choices, one of which counts as wrong: 1 of 4",
        "warning: questions that were asked again, and count again: 1 of 4",
    ]
