"""The exam of a task: stories and questions that no model was trained on.

Its sections are by name:
- `forget`, `adjacent`, `retain`: the splits, told and asked as in training; a task in which no
  topic is adjacent, or none else retained, has no such section;
- `forget_first`, `forget_second`: the halves of the facts to forget;
- `forget_held_out`: entities of the topics to forget that no story for training names, where
  nothing but chance can be right;
- `forget_reworded`: the facts to forget in templates that no story for training uses.

A model's report: its losses and scores in each section of an exam, as one flat table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import log

import numpy as np
from torch import Tensor

from lm.corpus import StoryDistribution, entropy_lower_bound, make_questions
from lm.data.task import StoryRows, Task
from lm.evaluation.likelihoods import Losses, losses
from lm.evaluation.quiz import CalibrationConfig, Quiz, calibrate, encode_quiz, score
from lm.models.language_model import LanguageModel

STREAM = 1000
"""Keeps the draws of exams apart from those of training, whatever the seeds of both."""


@dataclass(frozen=True, eq=False)
class Section:
    """Stories, and questions about the facts that they state, where any are known."""

    rows: StoryRows
    quiz: Quiz | None


@dataclass(frozen=True, eq=False)
class Exam:
    """All sections of an exam."""

    sections: Mapping[str, Section]
    """by name, those of the splits first"""
    practice: Mapping[str, StoryRows]
    """other stories of each split, to calibrate on"""
    lower_bounds: Mapping[str, float]
    """of each split, the least loss of a token that can be expected, in nats"""
    guess: float | None
    """the loss of guessing a value, all of its relation equally likely, in nats"""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExamConfig:
    """How long an exam is.

    Raises:
        ValueError: if there is to be no story or no question.
    """

    stories: int = 64
    """stories of a section of a split; other sections have a quarter of that"""
    rounds: int = 2
    """how often each fact is asked for, each time in another story"""
    questions: int | None = None
    """questions of a section at most, drawn from all; by default all are asked"""
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)
    """how an output bias is trained before calibrated losses are read"""

    def __post_init__(self) -> None:
        asked = 1 if self.questions is None else self.questions
        if min(self.stories, self.rounds, asked) < 1:
            raise ValueError(
                f"an exam of {self.stories} stories, {self.rounds} rounds and {asked} questions "
                "was asked for: give 1 or more of each"
            )


def make_exam(task: Task, seed: int, config: ExamConfig | None = None) -> Exam:
    """Draw an exam; the same seed gives the same one.

    Args:
        task: what was to be unlearned.
        seed: of stories, questions and the order of choices.
        config: how long it is.

    Raises:
        ValueError: if the seed is negative.
    """
    if seed < 0:
        raise ValueError(f"an exam of seed {seed} was asked for: give a seed from 0 on")
    config = config or ExamConfig()
    stories = config.stories
    splits = {
        name: StoryDistribution(topics=topics)
        for name, topics in asdict(task.splits).items()
        if topics
    }
    sections = {}
    for number, (name, distribution) in enumerate((splits | _of_forget(task)).items()):
        count = stories if name in splits else max(1, stories // 4)
        sections[name] = _section(task, distribution, [seed, STREAM, 2 * number + 1], count, config)
    practice = {
        name: task.sample(stories, [seed, STREAM, 2 * number + 2], distribution)
        for number, (name, distribution) in enumerate(splits.items())
    }
    lower_bounds = {name: least_loss(task, splits[name], sections[name].rows) for name in splits}
    return Exam(sections, practice, lower_bounds, task.grammar.world.guess_nats)


def _of_forget(task: Task) -> dict[str, StoryDistribution]:
    """Return the tellings of sections about the topics to forget alone."""
    topics = task.splits.forget
    facts = min(StoryDistribution().facts_per_story, task.grammar.world.quartets)
    parts = {
        f"forget_{part}": StoryDistribution(topics=topics, parts=(part,), facts_per_story=facts)
        for part in ("first", "second", "held_out")
    }
    return parts | {"forget_reworded": StoryDistribution(topics=topics, templates="held_out")}


def _section(
    task: Task,
    distribution: StoryDistribution,
    seed: Sequence[int],
    stories: int,
    config: ExamConfig,
) -> Section:
    rng = np.random.default_rng([*seed, 1])
    rounds = (make_questions(task.grammar, rng, distribution) for _ in range(config.rounds))
    asked = [question for once in rounds for question in once]
    if config.questions is not None and config.questions < len(asked):
        asked = [asked[number] for number in rng.permutation(len(asked))[: config.questions]]
    return Section(task.sample(stories, seed, distribution), encode_quiz(task, asked))


def least_loss(task: Task, distribution: StoryDistribution, rows: StoryRows) -> float:
    """Return the least loss of a token that can be expected of a reader of all topics, in nats.

    It knows the world and how stories are made, but not that these are of a few topics alone, so
    that it pays for the topic what it pays in training. The tokens are those of the rows.

    Args:
        task: whose world it is.
        distribution: of equally likely topics.
        rows: stories so told.
    """
    world = task.grammar.world
    news = log(len(world.topics) / len(distribution.topic_names(world)))
    tokens_per_story = int((rows.kinds >= 0).sum()) / len(rows)
    return (entropy_lower_bound(task.grammar, distribution).per_story + news) / tokens_per_story


Report = dict[str, float]
"""Figures by name."""


def examine(model: LanguageModel, exam: Exam, bias: Tensor | None = None) -> Report:
    """Return a model's losses and scores in all sections.

    Of a section `forget`: `forget_loss` and `forget_fact_loss` in nats, and the shares of right
    answers `mcq_forget`, `mcq_forget_control` and `cloze_forget`. Of a split also its lower bound,
    `forget_entropy_lower_bound`. `fact_guess_loss` is the loss of guessing a value. What an exam
    does not ask, such as facts where none are known, is not in the report.

    Args:
        model: read where it is, without routes.
        exam: the sections.
        bias: [v], added to the logits; none by default.
    """
    report: Report = {}
    for name, section in exam.sections.items():
        report |= examine_section(model, name, section, bias)
    lower_bounds = {f"{name}_entropy_lower_bound": nats for name, nats in exam.lower_bounds.items()}
    return report | lower_bounds | ({} if exam.guess is None else {"fact_guess_loss": exam.guess})


def examine_section(
    model: LanguageModel, name: str, section: Section, bias: Tensor | None = None
) -> Report:
    """Return a model's losses and scores in one section, by the names that `examine` gives them."""
    report = _told(name, losses(model, section.rows, bias))
    if section.quiz is None:
        return report
    choice, control, cloze = score(model, section.quiz, bias)
    return report | {
        f"mcq_{name}": choice,
        f"mcq_{name}_control": control,
        f"cloze_{name}": cloze,
    }


def examine_calibrated(
    model: LanguageModel, exam: Exam, config: CalibrationConfig | None = None
) -> Report:
    """Return a model's losses in the splits with an output bias that is trained first.

    Of a split `forget`: `forget_calibrated_loss` and `forget_calibrated_fact_loss`, in nats. The
    bias is trained on other stories than those it is read on.

    Args:
        model: it stays as it is.
        exam: the sections, and stories to calibrate on.
        config: how to train the bias.
    """
    practice = exam.practice
    others = [practice[name] for name in ("retain", "adjacent") if name in practice]
    bias = calibrate(
        model, practice["forget"], others[0], others[1] if others[1:] else None, config
    )
    report: Report = {}
    for name in practice:
        report |= _told(f"{name}_calibrated", losses(model, exam.sections[name].rows, bias))
    return report


def _told(name: str, found: Losses) -> Report:
    facts = {} if found.facts is None else {f"{name}_fact_loss": found.facts}
    return {f"{name}_loss": found.loss, **facts}
