"""The exam by topic: losses on, and known facts of, the core and each topic to forget.

The core consists of all topics that are not to be forgotten, adjacent ones included. All sections
are read together, so that many profiles of a model are examined quickly: a profile costs one pass
over the stories and one over the questions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lm.corpus import StoryDistribution
from lm.data.task import StoryRows, Task, joined
from lm.evaluation.exam import ExamConfig, draw_questions
from lm.evaluation.likelihoods import Continuations, lay_out, log_likelihoods, token_losses
from lm.evaluation.quiz import credit
from lm.models.language_model import LanguageModel

CORE = "core"
"""The name of the section of all topics that are not to be forgotten."""
STREAM = 3000
"""Separates the random numbers of these exams from those of training, attacks and other exams."""

BATCH = 32
"""Rows in a forward pass: more do not fit into the cache of a core."""

Scores = dict[str, dict[str, float]]
"""Figures by name, by section."""


@dataclass(frozen=True, eq=False)
class TopicExam:
    """Stories and questions of all sections, one after another."""

    sections: tuple[str, ...]
    """The names of the sections: the core, then the topics to forget."""
    rows: StoryRows
    """n stories"""
    of_row: Tensor
    """[n] int64: the section of each story"""
    questions: Continuations
    """q prompts, each with its choices"""
    answers: Tensor
    """[q] int64: index of the right choice"""
    of_question: Tensor
    """[q] int64: the section of each question"""


def make_topic_exam(
    task: Task,
    seed: int,
    config: ExamConfig | None = None,
    sections: Sequence[str] | None = None,
    stream: int = STREAM,
) -> TopicExam:
    """Draw an exam; the same seed gives the same exam, section by section.

    Args:
        task: source of the stories and questions.
        seed: seed of the exam, from 0 on.
        config: number of stories and questions of each section.
        sections: names of sections, if not all are wanted.
        stream: separates exams of the same seed.
    """
    config = config or ExamConfig()
    splits = task.splits
    topics = {CORE: (*splits.adjacent, *splits.retain)} | {t: (t,) for t in splits.forget}
    chosen = tuple(topics) if sections is None else tuple(sections)
    rows, asked = [], []
    for name in chosen:
        distribution = StoryDistribution(topics=topics[name])
        own = [seed, stream, list(topics).index(name)]
        rows.append(task.sample(config.stories, own, distribution))
        asked.append(draw_questions(task, distribution, own, config))
    questions = [question for several in asked for question in several]
    prompts = [[task.start, *task.encode(question.prompt)] for question in questions]
    return TopicExam(
        sections=chosen,
        rows=joined(rows),
        of_row=_numbered(rows),
        questions=lay_out(prompts, [[task.encode(c) for c in q.choices] for q in questions]),
        answers=torch.tensor([question.answer for question in questions]),
        of_question=_numbered(asked),
    )


def _numbered(parts: Sequence[Sequence[object] | StoryRows]) -> Tensor:
    """Return the number of its part for each item of some parts."""
    counts = torch.tensor([len(part) for part in parts])
    return torch.arange(len(parts)).repeat_interleave(counts)


def section_losses(model: LanguageModel, exam: TopicExam) -> dict[str, float]:
    """Return the mean loss per token of a model on the stories of each section, in nats."""
    return mean_losses(story_losses(model, exam), exam)


def story_losses(model: LanguageModel, exam: TopicExam) -> Tensor:
    """Return the loss of a model on each token of all stories, [n, t] float64, 0 after a story."""
    return token_losses(model, exam.rows, batch_size=BATCH).double()


def mean_losses(losses_nt: Tensor, exam: TopicExam) -> dict[str, float]:
    """Return the mean of the losses of all tokens by section."""
    nats = _sums(losses_nt.sum(1), exam.of_row, exam)
    tokens = _sums((exam.rows.kinds >= 0).sum(1), exam.of_row, exam)
    return dict(zip(exam.sections, (nats / tokens).tolist(), strict=True))


def known_facts(model: LanguageModel, exam: TopicExam) -> dict[str, float]:
    """Return the share of questions of each section that a model answers by multiple choice."""
    right = credit(log_likelihoods(model, exam.questions, batch_size=BATCH), exam.answers)
    asked = torch.bincount(exam.of_question, minlength=len(exam.sections))
    shares = _sums(right, exam.of_question, exam) / asked
    return dict(zip(exam.sections, shares.tolist(), strict=True))


def examine_topics(
    model: LanguageModel, exam: TopicExam, losses_nt: Tensor | None = None
) -> Scores:
    """Return `loss` and `facts` of a model in each section.

    Args:
        model: the model.
        exam: the exam.
        losses_nt: its `story_losses`, if they are known.
    """
    losses_nt = story_losses(model, exam) if losses_nt is None else losses_nt
    losses, facts = mean_losses(losses_nt, exam), known_facts(model, exam)
    return {name: {"loss": losses[name], "facts": facts[name]} for name in exam.sections}


def _sums(values: Tensor, places: Tensor, exam: TopicExam) -> Tensor:
    """Return the sum of values by section."""
    sums = torch.zeros(len(exam.sections), dtype=torch.float64)
    return sums.index_add(0, places, values.double())
