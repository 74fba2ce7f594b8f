"""The exam of a task, on stories and questions that no model was trained on, and a model's report.

The sections of an exam, by name:
- `forget`, `adjacent`, `retain`: the splits, distributed as in training; a split without topics has
  no section;
- `forget_first`, `forget_second`: the halves of the facts to forget;
- `forget_held_out`: entities of the topics to forget that no training story names, where a model
  can only be right by chance;
- `forget_reworded`: the facts to forget in templates that no training story uses.

A report holds the losses and scores of a model in each section, as a flat table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import log

import numpy as np
from torch import Tensor

from lm.corpus import Question, StoryDistribution, entropy_lower_bound, make_questions
from lm.data.task import StoryRows, Task
from lm.evaluation.likelihoods import Losses, losses
from lm.evaluation.quiz import CalibrationConfig, Quiz, calibrate, encode_quiz, score
from lm.models.language_model import LanguageModel
from oversight.runs.settings import require_numbers

STREAM = 1000
"""Separates the random numbers of exams from those of training, whatever their seeds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExamConfig:
    """The size of an exam.

    Raises:
        ValueError: if a number is below 1.
    """

    stories: int = 64
    """Number of stories for each split; other sections of an exam have a quarter of that."""
    rounds: int = 2
    """Number of questions about each fact, each in another story."""
    questions: int | None = None
    """Maximum number of questions in a section, drawn at random; None asks all."""
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)
    """How the output bias for calibrated losses is trained."""

    def __post_init__(self) -> None:
        require_numbers(self, "stories", "rounds", "questions", least=1)


@dataclass(frozen=True, eq=False)
class Section:
    """Stories, and questions about the facts that they state, if facts are known."""

    rows: StoryRows
    quiz: Quiz | None


@dataclass(frozen=True, eq=False)
class Exam:
    """All sections of an exam."""

    sections: Mapping[str, Section]
    """The sections by name; those of the splits come first."""
    practice: Mapping[str, StoryRows]
    """Other stories of each split, for calibration."""
    lower_bounds: Mapping[str, float]
    """Entropy lower bound of the loss per token for each split, in nats."""
    guess: float | None
    """The loss of guessing a value uniformly among those of its relation, in nats."""
    chance: Mapping[str, float] = field(default_factory=dict)
    """The share of right answers by guessing for each split that questions of a file are asked
    about; those about stories have four choices each."""

    @property
    def retained(self) -> str:
        """The section of what an attack must leave intact: `retain`, or `adjacent` without it."""
        return "retain" if "retain" in self.sections else "adjacent"


def make_exam(task: Task, seed: int, config: ExamConfig | None = None) -> Exam:
    """Draw an exam; the same seed gives the same exam.

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
    """Return the distributions of the sections about parts of what is to be forgotten."""
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
    asked = draw_questions(task, distribution, seed, config)
    return Section(task.sample(stories, seed, distribution), encode_quiz(task, asked))


def draw_questions(
    task: Task, distribution: StoryDistribution, seed: Sequence[int], config: ExamConfig
) -> list[Question]:
    """Return questions about the facts of a distribution, as many as an exam of that size asks."""
    rng = np.random.default_rng([*seed, 1])
    rounds = (make_questions(task.grammar, rng, distribution) for _ in range(config.rounds))
    asked = [question for once in rounds for question in once]
    if config.questions is not None and config.questions < len(asked):
        asked = [asked[number] for number in rng.permutation(len(asked))[: config.questions]]
    return asked


def least_loss(task: Task, distribution: StoryDistribution, rows: StoryRows) -> float:
    """Return the least expected loss of a token, in nats, for a reader of all topics.

    The reader knows the world and how stories are made, but not that these stories are limited to
    some topics, and so pays for the topic as in training. The rows are stories of the distribution,
    which give the number of tokens of a story.
    """
    world = task.grammar.world
    topic_nats = log(len(world.topics) / len(distribution.topic_names(world)))
    tokens_per_story = int((rows.kinds >= 0).sum()) / len(rows)
    story_nats = float(entropy_lower_bound(task.grammar, distribution).sum())
    return (story_nats + topic_nats) / tokens_per_story


Report = dict[str, float]
"""Figures by name."""


def examine(model: LanguageModel, exam: Exam, bias: Tensor | None = None) -> Report:
    """Return the losses and scores of a model in all sections.

    A section `forget` gives `forget_loss` and `forget_fact_loss`, in nats, and the shares of right
    answers `mcq_forget`, `mcq_forget_control` and `cloze_forget`; a split also gives
    `forget_entropy_lower_bound`, and, if its questions are of a file, `mcq_forget_chance`, the
    share of right answers by guessing. `fact_guess_loss` is the loss of guessing a value. Figures
    that an exam does not measure, such as those of facts if none are known, are absent.
    """
    report: Report = {}
    for name, section in exam.sections.items():
        report |= examine_section(model, name, section, bias)
    lower_bounds = {f"{name}_entropy_lower_bound": nats for name, nats in exam.lower_bounds.items()}
    chance = {f"mcq_{name}_chance": share for name, share in exam.chance.items()}
    guess = {} if exam.guess is None else {"fact_guess_loss": exam.guess}
    return report | lower_bounds | chance | guess


def examine_section(
    model: LanguageModel, name: str, section: Section, bias: Tensor | None = None
) -> Report:
    """Return the losses and scores of a model in one section, named as by `examine`."""
    report = _loss_entries(name, losses(model, section.rows, bias))
    if section.quiz is None:
        return report
    choice, control, cloze = score(model, section.quiz, bias)
    report |= {f"mcq_{name}": choice, f"mcq_{name}_control": control}
    return report if cloze is None else report | {f"cloze_{name}": cloze}


def examine_calibrated(
    model: LanguageModel, exam: Exam, config: CalibrationConfig | None = None
) -> Report:
    """Return the losses of a model in the splits after an output bias was trained.

    A split `forget` gives `forget_calibrated_loss` and `forget_calibrated_fact_loss`, in nats. The
    bias is trained on other stories than those of the losses.
    """
    practice = exam.practice
    others = [practice[name] for name in ("retain", "adjacent") if name in practice]
    bias = calibrate(
        model, practice["forget"], others[0], others[1] if others[1:] else None, config
    )
    report: Report = {}
    for name in practice:
        report |= _loss_entries(f"{name}_calibrated", losses(model, exam.sections[name].rows, bias))
    return report


def _loss_entries(name: str, found: Losses) -> Report:
    facts = {} if found.facts is None else {f"{name}_fact_loss": found.facts}
    return {f"{name}_loss": found.loss, **facts}
