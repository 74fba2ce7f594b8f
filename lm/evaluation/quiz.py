"""Questions about facts, asked of a model: multiple choice, its control, and the cloze.

A model answers with the choice that has the largest log-likelihood after the prompt. Equally
likely choices share the credit evenly, so that a model which knows nothing gets what chance would
give it, wherever the right choice stands.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lm.corpus import Question
from lm.evaluation.continuations import Continuations, lay_out, log_likelihoods
from lm.model.language_model import LanguageModel
from lm.task import Task


class Scores(NamedTuple):
    """Shares of questions answered right."""

    choice: float
    """among the four values of a quartet"""
    control: float
    """among these, where the prompt does not name the entity: chance, whatever the model"""
    cloze: float
    """among all values of the relation"""


@dataclass(frozen=True, eq=False)
class Quiz:
    """n questions, encoded."""

    texts: Continuations
    """the prompts, then the controls, [2n], each with all values of its relation"""
    choices: Tensor
    """[n, 4] int64: where the choices are among the values"""
    answers: Tensor
    """[n] int64: where the right value is among the choices"""
    cloze_answers: Tensor
    """[n] int64: where it is among the values"""

    def __len__(self) -> int:
        return len(self.answers)


def encode_quiz(task: Task, questions: Sequence[Question]) -> Quiz:
    """Return questions as tokens; a prompt is the beginning of a story.

    Raises:
        ValueError: if there is no question.
    """
    if not questions:
        raise ValueError("a quiz without questions was asked for: give one or more")
    texts = [q.prompt for q in questions] + [q.control for q in questions]
    words = {word: task.encode(word) for question in questions for word in question.values}
    values = [[words[word] for word in question.values] for question in questions]
    choices = [[q.values.index(choice) for choice in q.choices] for q in questions]
    return Quiz(
        texts=lay_out([[task.end, *task.encode(text)] for text in texts], values * 2),
        choices=torch.tensor(choices),
        answers=torch.tensor([question.answer for question in questions]),
        cloze_answers=torch.tensor([question.cloze_answer for question in questions]),
    )


def score(
    model: LanguageModel,
    quiz: Quiz,
    bias: Tensor | None = None,
    batch_size: int = 256,
    layer: int | None = None,
) -> Scores:
    """Ask a model all questions.

    Args:
        model: read where it is, without routes.
        quiz: the questions.
        bias: [v], added to the logits, as `calibrate` returns it; none by default.
        batch_size: rows that are read at a time.
        layer: after which the output head reads; the last one by default.
    """
    likelihoods = log_likelihoods(model, quiz.texts, bias, batch_size, layer)
    asked, control = torch.split(likelihoods, len(quiz))
    return Scores(
        choice=_mean_credit(asked.gather(1, quiz.choices), quiz.answers),
        control=_mean_credit(control.gather(1, quiz.choices), quiz.answers),
        cloze=_mean_credit(asked, quiz.cloze_answers),
    )


def credit(scores: Tensor, answers: Tensor) -> Tensor:
    """Return each question's credit, [n]: 1 over the number of best choices if among them, else 0.

    No choice is best where one is not a number.

    Args:
        scores: of each choice, [n, c].
        answers: where the right ones are, [n].

    >>> credit(torch.tensor([[0.0, 1.0, 1.0], [0.0, 1.0, 1.0]]), torch.tensor([2, 0])).tolist()
    [0.5, 0.0]
    """
    best = scores == scores.amax(1, keepdim=True)
    right = best.gather(1, answers[:, None])[:, 0]
    return right.double() / best.sum(1).clamp(min=1)


def _mean_credit(scores: Tensor, answers: Tensor) -> float:
    return float(credit(scores, answers).mean())
