"""Ask a model the questions of a set, some at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lm.benchmarks.encoding import Encoder, Row
from lm.benchmarks.forms import FORMS
from lm.benchmarks.likelihood import log_likelihoods
from lm.benchmarks.question import Question, QuestionSet
from lm.model.language_model import LanguageModel

CHUNK = 32
"""Questions that are asked at a time, whatever was asked before: so a run that goes on has the
batches, and the bits, of one that never stopped."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a model made of a question; its text is not kept."""

    subject: str
    answer: int
    lengths: tuple[int, ...]
    """characters of each choice"""
    likelihoods: dict[str, tuple[float, ...]]
    """the log-likelihood of each choice, by form"""


@dataclass(frozen=True, eq=False)
class Asker:
    """Asks a model.

    Args:
        model: read where it is, without routes.
        encoder: of its tokenizer and context.
        forms: names of `FORMS`.
        shots: solved examples in each prompt.
        batch_size: rows that are read at a time.
    """

    model: LanguageModel
    encoder: Encoder
    forms: Sequence[str] = tuple(FORMS)
    shots: int = 0
    batch_size: int = 16

    def ask(self, questions: QuestionSet, first: int = 0) -> Iterator[list[Asked]]:
        """Yield what the model makes of the questions, a chunk at a time, from one on.

        Raises:
            ValueError: if there are too few examples, or a choice cannot be encoded.
        """
        for start in range(first, len(questions.questions), CHUNK):
            yield self._chunk(questions, start)

    def _chunk(self, questions: QuestionSet, start: int) -> list[Asked]:
        chunk = questions.questions[start : start + CHUNK]
        found: list[dict[str, tuple[float, ...]]] = [{} for _ in chunk]
        for form in self.forms:
            rows = [
                self._rows(questions, number, form) for number in range(start, start + len(chunk))
            ]
            flat = [row for several in rows for row in several]
            numbers = iter(log_likelihoods(self.model, flat, self.batch_size))
            for each, several in zip(found, rows, strict=True):
                each[form] = tuple(next(numbers) for _ in several)
        return [_asked(question, each) for question, each in zip(chunk, found, strict=True)]

    def _rows(self, questions: QuestionSet, number: int, form: str) -> list[Row]:
        question = questions.questions[number]
        request = FORMS[form].request(question, questions.shown(question, self.shots))
        try:
            return self.encoder.rows(request)
        except ValueError as error:
            raise ValueError(f"{questions.name}, question {number + 1}: {error}") from None


def _asked(question: Question, likelihoods: dict[str, tuple[float, ...]]) -> Asked:
    lengths = tuple(len(choice) for choice in question.choices)
    return Asked(question.subject, question.answer, lengths, likelihoods)
