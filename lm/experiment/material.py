"""What a learner has: stories, and what it is told of them. The truth is not among it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lm.experiment.config import UnlearnConfig
from lm.experiment.subject import Subject
from lm.judge import judge
from lm.labels import LabelConfig, story_labels
from lm.methods import METHODS
from lm.task import StoryRows, Texts
from lm.training.routes import FORGET, RETAIN

STREAM = 1
"""Keeps the draw of stories apart from those of labels, exams and attacks, whatever the seed."""


@dataclass(frozen=True, eq=False)
class Material:
    """Stories to train on and others to choose by, and what each is taken for."""

    rows: Texts
    """to train on, the same for all methods with the same seed"""
    labels: Tensor
    """theirs, [n]: as given, or as judged by a method that has a judge"""
    held: StoryRows
    """other stories, all taken for ones to retain"""

    @property
    def forget(self) -> Texts:
        """The stories to train on that are taken for ones to forget."""
        return self.rows.take(self.labels == FORGET)

    @property
    def kept(self) -> Texts:
        """Those that are taken for ones to retain."""
        return self.rows.take(self.labels == RETAIN)


def make_material(config: UnlearnConfig, task: Subject, name: str, seed: int) -> Material:
    """Return what a method learns from, stories drawn and labelled by the seed.

    Raises:
        ValueError: if there are too few stories for the labels.
    """
    method, count = METHODS[name], config.task.stories
    drawn = task.tell(count + config.repair.stories, [seed, STREAM])
    quality = LabelConfig() if method.told_truth else config.labels
    labelled = story_labels(task, drawn, quality, seed)
    labels = torch.where(labelled, FORGET, task.unmarked(drawn.topics))
    if method.judged:
        labels = judge(drawn.read(), labelled, task.vocab_size, seed)
    ours = torch.arange(len(drawn)) < count
    held = drawn.take(~ours & (labels == RETAIN)).read()
    return Material(drawn.take(ours), labels[ours], held)
