"""The texts that a method trains on, with the labels that it is told.

A method receives texts and their labels. Of the true labels it gets only those that a user is
assumed to have checked: of the texts of the repair, which all methods share, and of the texts that
`parameters-checked` and the variants of `gram` are told to retain.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lm.classifier import Quality, classify_documents
from lm.config import RunConfig
from lm.data.task import StoryRows, Texts
from lm.labels import LabelConfig, story_labels, topic_labels
from lm.methods import Method, method_of
from lm.task import UnlearningTask
from lm.training.route_tables import FORGET, RETAIN, UNLABELED

STREAM = 1
"""Separates the random stream of texts from those of labels, exams and attacks."""


def drawn_texts(config: RunConfig, task: UnlearningTask, seed: int) -> Texts:
    """Return the texts to train on, and after them the held-out ones."""
    return task.sample(config.task.stories + config.repair.stories, [seed, STREAM])


@dataclass(frozen=True, eq=False)
class TrainingData:
    """The texts that a method trains on, with their labels, and the texts for the repair."""

    texts: Texts
    """The training texts, the same for all methods with the same seed."""
    labels: Tensor
    """Labels of the texts, [n]: as given, or as the method's classifier predicts them. In methods
    with a module for each topic, or with a labeler, `FORGET` + k is the label of topic k."""
    repair: Texts
    """The texts for the repair, by the labels of `RepairConfig`."""
    held_out: StoryRows
    """Other texts, chosen in the same way, by which the best step of the repair is chosen."""
    classifier: Quality | None = None
    """The quality of the method's classifier, if it has one."""

    @property
    def forget(self) -> Texts:
        """The texts to train on that are labeled forget."""
        return self.texts.take(self.labels >= FORGET)

    @property
    def retain(self) -> Texts:
        """The texts to train on that are labeled retain."""
        return self.texts.take(self.labels == RETAIN)


def make_training_data(
    config: RunConfig, task: UnlearningTask, name: str, seed: int
) -> TrainingData:
    """Return the training data of a method; the seed draws texts and labels.

    A method with a classifier gets its labels, or the given ones if its quality is too low.

    Raises:
        ValueError: if there are too few texts for the labels.
    """
    method, count = method_of(name), config.task.stories
    drawn = drawn_texts(config, task, seed)
    labels, quality_of_classifier = _given_labels(config, task, method, drawn, seed), None
    if method.labels.classified:
        numbers = (labels - UNLABELED).clamp(min=0)  # from 1 on for the topics
        classified = classify_documents(
            drawn.read(), numbers, task.vocab_size, seed, config.labels.reads
        )
        quality_of_classifier = classified.quality
        labels = labels if quality_of_classifier.flaw else classified.labels
    checked = to_retain(task, drawn)
    if method.labels.retain_checked:
        labels = torch.where((labels == RETAIN) & ~checked, UNLABELED, labels)
    if method.kept:
        kept = torch.tensor([FORGET + config.topics.index(topic) for topic in method.kept])
        if not method.has_branches:
            labels = torch.where(torch.isin(labels, kept), RETAIN, labels)
            labels = labels if method.labeler else labels.clamp(max=FORGET)
        checked |= torch.isin(FORGET + task.forget_numbers(drawn.topics), kept)
    trusted = checked if config.repair.labels == "checked" else labels == RETAIN
    ours = torch.arange(len(drawn)) < count
    return TrainingData(
        drawn.take(ours),
        labels[ours],
        drawn.take(ours & trusted),
        drawn.take(~ours & trusted).read(),
        quality_of_classifier,
    )


def to_retain(task: UnlearningTask, texts: Texts) -> Tensor:
    """Return which texts are to be retained by the true labels, [n] bool.

    Documents that were prepared without a label are not.
    """
    return (task.retain_labels(texts.topics) == RETAIN) & ~task.to_forget(texts.topics)


def _given_labels(
    config: RunConfig, task: UnlearningTask, method: Method, texts: Texts, seed: int
) -> Tensor:
    """Return the labels of texts that a method is given, [n]."""
    quality = LabelConfig() if method.labels.true else config.labels
    labeled = story_labels(task, texts, quality, seed)
    labels = torch.where(labeled, FORGET, task.retain_labels(texts.topics))
    if method.labels_topics:
        labels = topic_labels(task.forget_numbers(texts.topics), labels, len(config.topics), seed)
    return labels


def require_something_to_forget(
    config: RunConfig, task: UnlearningTask, seeds: Sequence[int]
) -> None:
    """Raise a ValueError if a seed draws no document that is to be forgotten, or labels none.

    Labels of so low a precision that they cannot be drawn are refused as well.
    """
    quality, count = config.labels, config.task.stories
    stories = config.data is None  # they are drawn of all topics alike
    for seed in () if stories and quality.precision == 1 else seeds:
        drawn = drawn_texts(config, task, seed)
        forget = task.to_forget(drawn.topics)
        labeled = story_labels(task, drawn, quality, seed)
        if stories:
            continue
        if not forget[:count].any() or (quality.recall > 0 and not labeled[:count].any()):
            raise ValueError(
                f"of the {count} documents that seed {seed} draws to train on, "
                f"{int(forget[:count].sum())} are to be forgotten, and "
                f"{int(labeled[:count].sum())} are labeled so: give a larger --task.stories, or "
                "prepare more to forget"
            )


def require_labeled_topics(
    config: RunConfig, task: UnlearningTask, names: Sequence[str], seeds: Sequence[int]
) -> None:
    """Raise a ValueError if no text that a seed draws to train on is labeled with some topic.

    This concerns methods with a module for each topic, and those that keep a topic.
    """
    concerned = [name for name in names if method_of(name).labels_topics]
    for seed in seeds if concerned and config.data is None else ():
        drawn, count = drawn_texts(config, task, seed), config.task.stories
        labeled = story_labels(task, drawn, config.labels, seed)[:count]
        numbers = task.forget_numbers(drawn.topics)[:count]
        found = set(numbers[labeled].tolist())
        missing = [topic for place, topic in enumerate(config.topics) if place not in found]
        if missing:
            raise ValueError(
                f"no text of {', '.join(missing)} is labeled among the {count} that seed {seed} "
                f"draws, so {concerned[0]} cannot learn where it belongs: give a larger "
                "--task.stories or --label-recall, or leave the topic out"
            )
