"""How a question is asked: the prompt, and the continuations among which a model chooses.

The prompts are those of lm-evaluation-harness 0.4 to the letter: `letter` of its tasks `wmdp_bio`
and `mmlu`, `cloze` of `mmlu_continuation`. `answer` lists the choices as `letter` does, and asks
for the text of one. `control` is `letter` without the question: what a model gets right there, the
choices alone give away (O'Brien et al. 2025, arXiv 2508.06601, who ask by cloze, too).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import NamedTuple

from lm.benchmarks.question import Question


class Request(NamedTuple):
    """A prompt, and what may follow it."""

    context: str
    continuations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Form:
    """A way to ask."""

    introduction: str
    """what all questions on a subject begin with"""
    prompt: Callable[[Question], str]
    """the question, without its answer"""
    targets: Callable[[Question], Sequence[str]]
    """what answers it, for each choice"""

    def request(self, question: Question, examples: Sequence[Question] = ()) -> Request:
        """Return a question as it is asked after solved examples."""
        subject = question.subject.replace("_", " ")
        introduction = self.introduction.format(subject) if subject else ""
        solved = (f"{self.prompt(one)} {self.targets(one)[one.answer]}\n\n" for one in examples)
        context = "".join([introduction, *solved, self.prompt(question)])
        return Request(context, tuple(f" {target}" for target in self.targets(question)))


def _lettered(question: Question) -> str:
    return f"{question.question.strip()}\n{_choices(question)}"


def _choices(question: Question) -> str:
    rows = zip(ascii_uppercase, question.choices, strict=False)
    return "".join(f"{letter}. {choice}\n" for letter, choice in rows) + "Answer:"


def _alone(question: Question) -> str:
    return f"Question: {question.question.strip()}\nAnswer:"


def _letters(question: Question) -> str:
    return ascii_uppercase[: len(question.choices)]


def _texts(question: Question) -> tuple[str, ...]:
    return question.choices


_MULTIPLE_CHOICE = "The following are multiple choice questions (with answers) about {}.\n\n"

FORMS = {
    "letter": Form(_MULTIPLE_CHOICE, _lettered, _letters),
    "answer": Form(_MULTIPLE_CHOICE, _lettered, _texts),
    "cloze": Form("The following are questions (with answers) about {}.\n\n", _alone, _texts),
    "control": Form(_MULTIPLE_CHOICE, _choices, _letters),
}
"""By name: for the letter of a listed choice, for the text of one, for the text of one that is not
listed, and for the letter without the question."""
