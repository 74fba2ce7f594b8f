"""A multiple-choice question, and its record in a file or a data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import Any

FIELDS = ("question", "choices", "answer")


@dataclass(frozen=True, slots=True)
class Question:
    """A question with two choices or more, one of them right."""

    question: str
    choices: tuple[str, ...]
    answer: int
    """where the right choice is, from 0"""
    subject: str = ""
    """what the prompt says that it is about; nothing by default"""

    def __post_init__(self) -> None:
        count = len(self.choices)
        if not 2 <= count <= len(ascii_uppercase):
            raise ValueError(f"it has {count} choices: give from 2 to {len(ascii_uppercase)}")
        if not 0 <= self.answer < count:
            raise ValueError(
                f"its answer is {self.answer}: give the number of one of the {count} choices, "
                f"from 0 to {count - 1}"
            )


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """Questions under one name, with the solved examples that a prompt may begin with."""

    name: str
    questions: tuple[Question, ...]
    examples: Mapping[str, tuple[Question, ...]] = field(default_factory=dict)
    """of each subject, in order"""

    def first(self, limit: int | None) -> "QuestionSet":
        """Return the first questions; all by default."""
        return QuestionSet(self.name, self.questions[:limit], self.examples)

    def shown(self, question: Question, shots: int) -> Sequence[Question]:
        """Return the first examples of a question's subject.

        Raises:
            ValueError: if there are fewer.
        """
        examples = self.examples.get(question.subject, ())
        if shots > len(examples):
            raise ValueError(
                f"{shots} examples were asked for, and {self.name} has {len(examples)}"
                + (f" on {question.subject}" if question.subject else "")
                + ": ask without, as those of mmlu alone come with some, 5 of each subject"
            )
        return examples[:shots]


def question_of(record: object, where: str, subject: str | None = None) -> Question:
    """Return the question of a record with `FIELDS`, and perhaps a `subject`.

    Args:
        record: from a file or a data set.
        where: where it stands, for the error.
        subject: what it is about, whatever the record says; its own by default.

    Raises:
        ValueError: if a field is missing or of another type, there are fewer choices than two, or
            the answer is none of them.
    """
    if not isinstance(record, Mapping):
        raise ValueError(f"{where} is {type(record).__name__}: give an object with {_FIELDS}")
    missing = [name for name in FIELDS if name not in record]
    if missing:
        raise ValueError(f"{where} lacks {', '.join(missing)}: give an object with {_FIELDS}")
    told = record.get("subject", "") if subject is None else subject
    text, choices, answer = (record[name] for name in FIELDS)
    _check(where, "question", text, "a text", isinstance(text, str))
    _check(where, "choices", choices, "a list of texts", _are_texts(choices))
    _check(where, "answer", answer, "a whole number", type(answer) is int)
    _check(where, "subject", told, "a text", isinstance(told, str))
    try:
        return Question(text, tuple(choices), answer, told)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


_FIELDS = ", ".join(FIELDS)


def _are_texts(choices: object) -> bool:
    return isinstance(choices, list | tuple) and all(isinstance(each, str) for each in choices)


def _check(where: str, name: str, value: Any, kind: str, fits: bool) -> None:  # noqa: ANN401
    if not fits:
        raise ValueError(f"{where}: its {name} is {type(value).__name__}: give {kind}")
