"""What the learner is told of each token: labels, imperfect if asked for.

A document classifier, which corrects imperfect labels: to forget, to retain, or unsure.

A logistic regression on which tokens a story has, fitted to the labels of other stories. Where
labels are missing at random, what it gives is the chance that a story is labeled, which is the
chance that it is to be forgotten times a constant: that of a labeled story (Elkan and Noto 2008,
"Learning classifiers from only positive and unlabeled data").

Texts with the route of each token, found when they are read.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from lm.corpus import Kind, noisy_labels
from lm.data.task import StoryRows, Texts
from lm.training.batches import checksum
from lm.training.route_tables import FORGET, RETAIN, UNLABELED, era_routes

Unit = Literal["document", "token"]
"""What a label is of: all of a story, or those of its words that tell the topic and its facts."""

Errors = Literal["iid", "topic"]
"""Whether stories are mislabeled one by one, or all of one topic and entity together."""

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
    """share of the stories to forget that is labeled so"""
    precision: float = 1.0
    """share of the stories labeled so that is to be forgotten"""
    errors: Errors = "iid"
    """iid: each story is mislabeled on its own; topic: all stories of an entity are, together"""

    def __post_init__(self) -> None:
        if not 0 <= self.recall <= 1:
            raise ValueError(f"a label recall of {self.recall} was given: give one from 0 to 1")
        if not 0 < self.precision <= 1:
            raise ValueError(
                f"a label precision of {self.precision} was given: give one above 0, at most 1"
            )


def story_labels(task: Truth, rows: Texts, config: LabelConfig, seed: int) -> Tensor:
    """Return which stories are labeled to be forgotten, [n] bool.

    With the same seed, stories labeled at a lower recall are labeled at a higher one too.

    Raises:
        ValueError: if there are too few other stories for so low a precision.
    """
    truth = task.to_forget(rows.topics).numpy()
    labeled = noisy_labels(
        truth,
        recall=config.recall,
        precision=config.precision,
        rng=np.random.default_rng([seed, 2]),
        groups=None if config.errors == "iid" else _first_facts(rows.read()),
    )
    return torch.from_numpy(labeled)


def token_labels(rows: StoryRows, labels: Tensor, unit: Unit = "document") -> Tensor:
    """Return the label of each predicted token, [n, t] int64.

    Args:
        rows: stories.
        labels: theirs, [n].
        unit: what of a story labeled forget is labeled so; the rest of it is to be retained.

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


FOLDS = 5
"""Parts of the stories; each part is classified by a regression fitted to the other parts."""
DECAY = 1e-3
"""Weight of the squared norm of the regression's weights, so that rare tokens say little."""
UNSURE = 0.25
"""Chance from which on a story is not sure to be one to retain."""


def classify_documents(rows: StoryRows, labeled: Tensor, vocab_size: int, seed: int) -> Tensor:
    """Return the labels of stories by how likely they are to be forgotten, [n] int64.

    `FORGET` from an even chance on, `UNLABELED` from `UNSURE` on, `RETAIN` below.

    A story is classified without its own label, so that a wrong label can be outvoted.

    Args:
        rows: the stories.
        labeled: which are labeled to be forgotten, [n] bool.
        vocab_size: tokens of the vocabulary.
        seed: of the parts.

    Raises:
        ValueError: if there is not one label for each story, or fewer stories than parts.
    """
    if labeled.shape != rows.topics.shape or len(rows) < FOLDS:
        raise ValueError(
            f"labels of shape {tuple(labeled.shape)} were given for {len(rows)} stories: give "
            f"each story one label, and {FOLDS} stories or more"
        )
    if not labeled.any():
        return torch.full(labeled.shape, RETAIN)
    generator = torch.Generator().manual_seed(seed)
    fold = torch.randperm(len(rows), generator=generator) % FOLDS
    chance = _label_probabilities(rows, labeled, fold, vocab_size)
    likely = chance / chance[labeled].mean()
    unsure = torch.where(likely > UNSURE, UNLABELED, RETAIN)
    return torch.where(likely > 0.5, FORGET, unsure)


def _label_probabilities(rows: StoryRows, labeled: Tensor, fold: Tensor, vocab_size: int) -> Tensor:
    """Return the probability that each story is labeled, [n] float64, fitted to the other folds."""
    from scipy.sparse import csr_array  # noqa: PLC0415 (slow to import, as scikit-learn is)
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    # [n, v]: whether each story has each token
    present = torch.zeros(len(rows), vocab_size, dtype=torch.float64).scatter_(1, rows.inputs, 1.0)
    features = csr_array(present.numpy())
    chance = torch.zeros(len(rows), dtype=torch.float64)
    for number in range(FOLDS):
        train, test = fold != number, fold == number
        labels = labeled[train]
        if labels.all() or not labels.any():  # one class, which the library does not fit
            chance[test] = float(labels[0])
            continue
        # scikit-learn minimizes the summed cross-entropy times C, plus half the squared weights
        regression = LogisticRegression(C=1 / (2 * DECAY * len(labels)), max_iter=1000)
        regression.fit(features[train.numpy()], labels.numpy())
        chance[test] = torch.from_numpy(regression.predict_proba(features[test.numpy()])[:, 1])
    return chance


TOGETHER = 4096
"""Texts that are read at once where all are."""


@dataclass(frozen=True, eq=False)
class Routed:
    """Texts, labels, and how these become routes (a `lm.training.batches.Source`).

    Raises:
        ValueError: if there is not one label for each text.
    """

    texts: Texts
    """in memory, or on a disk"""
    labels: Tensor
    """of the texts, [n]"""
    unit: Unit = "document"
    """what of a text labeled forget is routed so"""
    weights: Tensor | None = None
    """of each token of the vocabulary, where forget tokens are routed by weight, [v]"""

    def __post_init__(self) -> None:
        if self.labels.shape != self.texts.topics.shape:
            raise ValueError(
                f"labels of shape {tuple(self.labels.shape)} were given for {len(self)} texts: "
                "give each one label"
            )

    @property
    def digest(self) -> str:
        """A checksum of texts and routes."""
        own = f"{self.texts.digest} {checksum(self.labels)} {self.unit}"
        if self.weights is not None:
            own += f" {self.weights.tolist()}"
        return sha256(own.encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.texts)

    def read(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tokens and routes of some of the texts."""
        read = self.texts.take(rows).read()
        routes = token_labels(read, self.labels[rows], self.unit)
        if self.weights is not None:
            routes = era_routes(read.targets, routes, self.weights)
        return read.tokens.long(), routes

    def counts(self, vocab_size: int) -> tuple[Tensor, Tensor]:
        """Return how often each token is predicted with label forget and without, [v] both.

        This reads all texts.
        """
        found = torch.zeros(2, vocab_size, dtype=torch.int64)
        for start in range(0, len(self), TOGETHER):
            rows = torch.arange(start, min(start + TOGETHER, len(self)))
            tokens, routes = self.read(rows)
            targets = tokens[:, 1:]
            for place, chosen in enumerate((routes == FORGET, routes != FORGET)):
                real = targets[chosen & (targets >= 0)]
                found[place] += torch.bincount(real, minlength=vocab_size)
        return found[0], found[1]
