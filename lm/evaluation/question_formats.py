"""Records of multiple-choice questions in the shapes of public data sets, and their answers.

- WMDP and MMLU on the hub: `question`, `choices`, and `answer` as a number from 0;
- MMLU as tables: the choices in columns `A`, `B`, ..., and the letter in `answer` or `target`;
- MMLU-Pro: the choices in `options`, and the letter in `answer`;
- ARC on the hub: `choices` with the lists `text` and `label`, and one of the labels in `answerKey`;
- ARC as it was published: `question` with a `stem` and a list of choices, each a text and a label.
"""

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from lm.data.matching import folded, plain

LABELS = "labels"
"""The field of a record for the labels of its choices, if they have some."""
NAMES = {
    "question": ("input", "question_text"),
    "choices": ("options",),
    "answer": ("answerKey", "answer_key", "target", "label", "gold"),
}
"""Other names of the fields of a record."""


def common_shape(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with the fields `question`, `choices`, `answer` and `labels` that it has."""
    found = {name: value for name, value in record.items() if name != LABELS}
    for name, others in NAMES.items():
        for other in others:
            if name not in found and other in found:
                found[name] = found[other]
    question = found.get("question")
    if isinstance(question, Mapping):  # ARC as it was published
        found["question"] = question.get("stem")
        if "choices" in question:
            found["choices"] = question["choices"]
    if "choices" not in found and "A" in found and "B" in found:
        columns = [letter for letter in ascii_uppercase if letter in found]
        found["choices"] = [found[letter] for letter in columns]
        found[LABELS] = columns
    return found | _labeled(found.get("choices"))


def _labeled(choices: object) -> dict[str, Any]:
    """Return the texts and the labels of choices, if they have labels."""
    if isinstance(choices, Mapping):
        if {"text", "label"} <= choices.keys():
            return {"choices": choices["text"], LABELS: choices["label"]}
        return {"choices": list(choices.values()), LABELS: list(choices)}
    if isinstance(choices, list) and choices and all(isinstance(c, Mapping) for c in choices):
        texts = [choice.get("text") for choice in choices]
        return {"choices": texts, LABELS: [choice.get("label") for choice in choices]}
    return {}


def repeats(questions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line on questions with equal choices, and one on those that are there again.

    Args:
        questions: records with the fields `question` and `choices`.

    >>> repeats([{"question": "a", "choices": ["b", "b "]}])[0][:40]
    'warning: questions with two equal choice'
    """
    choices = [tuple(map(plain, each["choices"])) for each in questions]
    asked = {
        (plain(each["question"]), found) for each, found in zip(questions, choices, strict=True)
    }
    counts = {
        "with two equal choices, one of which counts as wrong": sum(
            len(set(found)) < len(found) for found in choices
        ),
        "that were asked again, and count again": len(questions) - len(asked),
    }
    total = len(questions)
    return [f"warning: questions {k}: {n:,} of {total:,}" for k, n in counts.items() if n]


def answer_index(answer: object, choices: Sequence[str], labels: object, where: str) -> int:
    """Return the number of the right choice, from 0.

    A number counts from 0, as a number or as a text. A text may also be the letter of a choice or
    its text. If choices have labels, the answer is one of these. A text that means several choices
    by these rules is refused.

    Args:
        answer: the answer of a record.
        choices: the texts of its choices.
        labels: the labels of its choices, empty if there are none.
        where: the place of the record, for errors.

    Raises:
        ValueError: if the answer means no choice, or several.
    """
    count = len(choices)
    if isinstance(answer, float) and answer.is_integer():
        answer = int(answer)
    if isinstance(answer, bool) or not isinstance(answer, int | str):
        given = type(answer).__name__
        raise ValueError(f"{where}: its answer is {given}: give a whole number from 0, or a letter")
    named = [str(label) for label in labels] if isinstance(labels, Sequence) else []
    if named and len(set(named)) < count:
        raise ValueError(f"{where}: it has {count} choices with the labels {named}: give each one")
    if isinstance(answer, int) and not (named and str(answer) in named):
        meant = {answer} if 0 <= answer < count else set()
    else:
        meant = _meant(str(answer), choices, named)
    if len(meant) == 1:
        return meant.pop()
    many = f", which means the choices {', '.join(map(str, sorted(meant)))}" if meant else ""
    raise ValueError(
        f"{where}: its answer is {answer}{many}: give the number of one of the {count} choices, "
        f"from 0 to {count - 1}, or its letter"
    )


def _meant(answer: str, choices: Sequence[str], labels: Sequence[str]) -> set[int]:
    """Return the numbers of the choices that a text may mean, in any form of Unicode."""
    shown = plain(answer)
    bare = shown.strip("().:[] ").upper()
    texts = {number for number, choice in enumerate(choices) if plain(choice) == shown}
    if not texts:
        form = folded(shown)
        texts = {n for n, choice in enumerate(choices) if folded(plain(choice)) == form}
    letters = {ascii_uppercase.index(bare)} if len(bare) == 1 and bare in ascii_uppercase else set()
    if labels:
        letters = {n for n, label in enumerate(labels) if label.strip().upper() == bare}
        if letters:
            return letters
    numbers = {int(bare)} if bare.isascii() and bare.isdigit() else set()
    return {number for number in letters | numbers if number < len(choices)} | texts
