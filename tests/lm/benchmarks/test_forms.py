"""Prompts, character by character."""

from dataclasses import replace

import pytest

from lm.benchmarks.questions import Question
from lm.benchmarks.scoring import FORMS

SPIDER = Question("  How many legs?\n", ("six", " eight"), 1, "small_animals")
ABOUT = "The following are multiple choice questions (with answers) about small animals.\n\n"
ALONE = "The following are questions (with answers) about small animals.\n\n"
LISTED = "How many legs?\nA. six\nB.  eight\nAnswer:"


@pytest.mark.parametrize(
    ("form", "context", "continuations"),
    [
        ("letter", ABOUT + LISTED, (" A", " B")),
        ("answer", ABOUT + LISTED, (" six", "  eight")),
        ("cloze", ALONE + "Question: How many legs?\nAnswer:", (" six", "  eight")),
        ("control", ABOUT + "A. six\nB.  eight\nAnswer:", (" A", " B")),
    ],
)
def test_a_prompt_is_this(form: str, context: str, continuations: tuple[str, ...]) -> None:
    assert FORMS[form].request(SPIDER) == (context, continuations)


def test_without_a_subject_there_is_no_introduction() -> None:
    assert FORMS["letter"].request(replace(SPIDER, subject="")).context == LISTED


def test_examples_are_solved_questions_before_the_question() -> None:
    example = Question("Legs of a cat?", ("four", "two"), 0, "small_animals")
    solved = "Legs of a cat?\nA. four\nB. two\nAnswer: A\n\n"
    assert FORMS["letter"].request(SPIDER, [example]).context == ABOUT + solved + LISTED
    named = FORMS["answer"].request(SPIDER, [example]).context
    assert named == ABOUT + solved.replace("Answer: A", "Answer: four") + LISTED
    told = FORMS["cloze"].request(SPIDER, [example]).context
    assert told.startswith(ALONE + "Question: Legs of a cat?\nAnswer: four\n\nQuestion: How")


def test_the_control_never_shows_a_question() -> None:
    other = replace(SPIDER, question="Of what colour is it?")
    form = FORMS["control"]
    assert form.request(SPIDER, [other]) == form.request(other, [SPIDER])
