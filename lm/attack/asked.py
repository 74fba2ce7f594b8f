"""The questions of attacks that ask: no exam asks these, but they are about the same facts."""

from collections.abc import Sequence

import numpy as np

from lm.corpus import HALVES, Question, Telling, questions
from lm.evaluation.continuations import Text
from lm.task import Task

STREAM = 3000
"""Keeps the draws of questions apart from those of training, exams and relearning."""


def ask(
    task: Task,
    seed: Sequence[int],
    topics: Sequence[str] | None = None,
    parts: Sequence[str] = HALVES,
    rounds: int = 1,
) -> list[Question]:
    """Return questions about every fact of some topics' parts, the same for the same seed.

    Args:
        task: whose world is asked about.
        seed: of stories, templates and the order of choices.
        topics: what is asked about; the topics to forget by default.
        parts: whose facts.
        rounds: how often each fact is asked for, each time in another story.
    """
    telling = Telling(topics=tuple(topics or task.splits.forget), parts=tuple(parts))
    rng = np.random.default_rng([*seed, STREAM])
    return [question for _ in range(rounds) for question in questions(task.grammar, rng, telling)]


def encoded(task: Task, text: str) -> Text:
    """Return the tokens of a text, such as a choice with the space before it."""
    return task.encode(text)


def prompted(task: Task, prompt: str) -> Text:
    """Return the tokens of a prompt, which begins a story."""
    return [task.end, *task.encode(prompt)]
