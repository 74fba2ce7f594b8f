"""Serving capability profiles: which profiles a method has, and what each of them can do.

A profile is the set of modules that are on; the others do not exist in the model that serves it. A
module that is named after a topic to forget has what the model knows of that topic, and a module of
another name has what it knows of all of them. A method without modules serves one profile, that of
the topics on which it was trained.

Elicitation asks what the model without modules still knows: it is fine-tuned on a few stories of
each topic, and the step of the least validation loss counts, as long as the core stays intact.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from math import nan
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lm.attacks.config import AttackConfig
from lm.attacks.relearning import Curve, relearn
from lm.attacks.results import MAX_RISE
from lm.corpus import StoryDistribution
from lm.data.task import Task
from lm.evaluation.exam import ExamConfig
from lm.evaluation.likelihoods import losses
from lm.evaluation.topic_exam import (
    CORE,
    TopicExam,
    examine_topics,
    make_topic_exam,
    section_losses,
    story_losses,
)
from lm.labels import TOPIC_KINDS
from lm.methods import BASE, method_of
from lm.models.language_model import LanguageModel

Names = tuple[str, ...]
"""Names of modules or of topics."""
STREAM = 3500
"""Separates the random numbers of elicitation from those of all else."""


def subsets(names: Sequence[str]) -> list[Names]:
    """Return all subsets of some names, smaller ones first.

    >>> subsets(["forest", "sea"])
    [(), ('forest',), ('sea',), ('forest', 'sea')]
    """
    return [on for count in range(len(names) + 1) for on in combinations(names, count)]


def kept_topics(on: Sequence[str], topics: Sequence[str]) -> Names:
    """Return the topics to forget that a profile nevertheless keeps.

    >>> kept_topics(["sea"], ["forest", "sea"]), kept_topics(["expansion"], ["forest", "sea"])
    (('sea',), ('forest', 'sea'))
    """
    everything = any(name not in topics for name in on)
    return tuple(topic for topic in topics if everything or topic in on)


def trained_topics(method: str, topics: Sequence[str]) -> Names:
    """Return the topics to forget that a method without modules keeps: those it was trained on.

    >>> trained_topics("unrouted", ["forest", "sea"]), trained_topics("filtered+sea", ["sea"])
    (('forest', 'sea'), ('sea',))
    """
    return tuple(topics) if method == BASE else method_of(method).kept


class Served(NamedTuple):
    """The model that serves a profile."""

    on: Names
    """The modules that are on; of a method without modules, the topics it was trained on."""
    kept: Names
    """The topics to forget that the profile keeps."""
    model: LanguageModel


def served(
    method: str, trained: LanguageModel, ablated: LanguageModel, topics: Sequence[str]
) -> Iterator[Served]:
    """Yield all profiles that a method serves.

    Args:
        method: name of the method.
        trained: its model after training.
        ablated: its model after the ablation and the step that follows training.
        topics: the topics to forget.
    """
    if has_modules(method, trained):
        for on in subsets(trained.module_names):
            yield Served(on, kept_topics(on, topics), trained.profile(*on))
    else:
        on = trained_topics(method, topics)
        yield Served(on, on, ablated)


def has_modules(method: str, trained: LanguageModel) -> bool:
    """Return whether a method serves the modules of its trained model, as they were trained."""
    found = method_of(method)
    return bool(trained.module_names) and found.posthoc is None and found.ablation == "expansion"


def examine_profiles(profiles: Iterator[Served], exam: TopicExam) -> list[dict[str, Any]]:
    """Return the record of each profile: `on`, `kept`, and `topics` with losses and facts.

    The topics of a module that is on alone also have `localized`, compared with no module on. The
    profile without modules must come first.
    """
    records, without = [], torch.empty(0)
    for on, kept, model in profiles:
        losses_nt = story_losses(model, exam)
        found = examine_topics(model, exam, losses_nt)
        without = losses_nt if not on else without
        for topic in kept if len(on) == 1 and len(without) else ():
            found[topic]["localized"] = localized(without - losses_nt, exam, topic)
        records.append({"on": on, "kept": kept, "topics": found})
    return records


def localized(increase_nt: Tensor, exam: TopicExam, topic: str) -> float:
    """Return the share of the loss increase of an ablation that lies on words of the topic.

    These are nouns, entities and values of facts, which no story of another topic has. The share is
    NaN if the ablation does not increase the loss on stories of the topic.

    Args:
        increase_nt: the increase of the loss of each token of all stories, [n, t].
        exam: the exam of these stories.
        topic: name of the section.
    """
    ours = exam.of_row == exam.sections.index(topic)
    increase, kinds = increase_nt[ours], exam.rows.kinds[ours]
    of_topic = torch.isin(kinds, torch.tensor([int(kind) for kind in TOPIC_KINDS]))
    whole = float(increase.sum())
    return float(increase[of_topic].sum()) / whole if whole > 0 else nan


class Elicitation:
    """Fine-tuning of a model on a fixed small sample of a topic.

    Args:
        task: source of the stories.
        seed: seed of the stories, the same for all methods.
        config: rates, steps and number of stories, of which the largest counts.
        size: size of the exam.
    """

    def __init__(self, task: Task, seed: int, config: AttackConfig, size: ExamConfig) -> None:
        self.task, self.seed, self.config, self.size = task, seed, config, size
        self.core = make_topic_exam(task, seed, size, sections=(CORE,))

    def run(self, model: LanguageModel, topic: str) -> dict[str, float]:
        """Return `elicited_loss` and `elicited_facts` of a topic."""
        distribution = StoryDistribution(topics=(topic,))
        number = self.task.splits.forget.index(topic)
        examples, held_out = (
            self.task.sample(count, [self.seed, STREAM, number, part], distribution)
            for part, count in enumerate((max(self.config.num_examples), self.size.stories))
        )
        exam = make_topic_exam(self.task, self.seed, self.size, sections=(topic,))

        def measure(attacked: LanguageModel) -> Mapping[str, float]:
            return {
                "validation": losses(attacked, held_out).loss,
                "core": section_losses(attacked, self.core)[CORE],
                **examine_topics(attacked, exam)[topic],
            }

        rates = self.config.learning_rates
        best = best_checkpoint([relearn(model, examples, measure, r, self.config) for r in rates])
        return {"elicited_loss": best["loss"], "elicited_facts": best["facts"]}


def best_checkpoint(curves: Sequence[Curve]) -> dict[str, float]:
    """Return the figures at the step of the least validation loss.

    Steps do not count at which the core loss has risen by more than `MAX_RISE`.
    """
    steps = [
        {name: values[place] for name, values in curve.values.items()}
        for curve in curves
        for place in range(len(curve.steps))
        if curve.values["core"][place] <= curve.values["core"][0] * (1 + MAX_RISE)
    ]
    return min(steps, key=lambda step: step["validation"])
