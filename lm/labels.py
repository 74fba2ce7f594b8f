"""What the learner is told of each token: labels, imperfect if asked for."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from lm.corpus import Kind, noisy_labels
from lm.task import StoryRows, Texts
from lm.training.routes import FORGET, RETAIN

Unit = Literal["document", "token"]
"""What a label is of: all of a story, or those of its words that tell the topic and its facts."""

Errors = Literal["iid", "topic"]
"""Whether stories are mislabelled one by one, or all of one topic and entity together."""

OF_TOPIC = (Kind.NOUN, Kind.ENTITY, Kind.VALUE)
"""Kinds of words that are a topic's own; all others are told of other topics too."""


class Truth(Protocol):
    """Knows what is to be forgotten."""

    def to_forget(self, topics: Tensor) -> Tensor:
        """Return which stories, given by their topics, are to be forgotten."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelConfig:
    """How good the labels are.

    Raises:
        ValueError: if a share is out of its range.
    """

    recall: float = 1.0
    """share of the stories to forget that is labelled so"""
    precision: float = 1.0
    """share of the stories labelled so that is to be forgotten"""
    errors: Errors = "iid"
    """iid: each story is mislabelled on its own; topic: all stories of an entity are, together"""

    def __post_init__(self) -> None:
        if not 0 <= self.recall <= 1:
            raise ValueError(f"a label recall of {self.recall} was given: give one from 0 to 1")
        if not 0 < self.precision <= 1:
            raise ValueError(
                f"a label precision of {self.precision} was given: give one above 0, at most 1"
            )


def story_labels(task: Truth, rows: Texts, config: LabelConfig, seed: int) -> Tensor:
    """Return which stories are labelled to be forgotten, [n] bool.

    With the same seed, stories labelled at a lower recall are labelled at a higher one too.

    Raises:
        ValueError: if there are too few other stories for so low a precision.
    """
    truth = task.to_forget(rows.topics).numpy()
    labelled = noisy_labels(
        truth,
        recall=config.recall,
        precision=config.precision,
        rng=np.random.default_rng([seed, 2]),
        groups=None if config.errors == "iid" else _first_facts(rows.read()),
    )
    return torch.from_numpy(labelled)


def token_labels(rows: StoryRows, labels: Tensor, unit: Unit = "document") -> Tensor:
    """Return the label of each predicted token, [n, t] int64.

    Args:
        rows: stories.
        labels: theirs, [n].
        unit: what of a story labelled forget is labelled so; the rest of it is to be retained.

    Raises:
        ValueError: if there is not one label for each story.
    """
    if labels.shape != rows.topics.shape:
        raise ValueError(
            f"labels of shape {tuple(labels.shape)} were given for {len(rows)} stories: give "
            "each story one label"
        )
    of_story = labels[:, None].expand(rows.kinds.shape)
    if unit == "document":
        return of_story
    of_topic = torch.isin(rows.kinds, torch.tensor([int(kind) for kind in OF_TOPIC]))
    return torch.where((of_story == FORGET) & ~of_topic, RETAIN, of_story)


def _first_facts(rows: StoryRows) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the first fact of each story, which tells its topic too, [n]."""
    stated = rows.facts >= 0
    first = stated.int().argmax(1)
    facts: np.ndarray[tuple[int], np.dtype[np.int64]] = (
        rows.facts[torch.arange(len(rows)), first].long().numpy()
    )
    return facts
