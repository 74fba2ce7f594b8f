"""Labels of training texts: imperfect labels, and labels of tokens.

Every text is labeled forget or not, with the recall and precision of a run. A method may replace
these labels by the predictions of a document classifier (`lm.classifier`), and apply them to whole
texts or only to words specific to the topic. `Routed` turns them into routes of tokens when
texts are read.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Literal, Protocol

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from torch import Tensor

from lm.classifier import Reads
from lm.corpus import Kind, noisy_labels
from lm.data.task import StoryRows, Texts
from lm.training.batches import checksum
from lm.training.route_tables import FORGET, RETAIN, UNLABELED, era_routes
from oversight.runs.settings import PROBABILITY_ABOVE_0, UNIT, require_number

Unit = Literal["document", "token"]
"""Tokens to which a label applies: all of a text, or the words that reveal its topic and facts."""

Errors = Literal["iid", "topic", "entity"]
"""Which texts are mislabeled together. iid: none; topic: stories that state the same fact first;
entity: those about an entity that the overseer does not know. With `entity`, a story is labeled
only if all entities in it are known, so that no labeled story names one that is unknown."""

TOPIC_KINDS = (Kind.NOUN, Kind.ENTITY, Kind.VALUE)
"""Kinds of words that reveal the topic of a story, or complete its facts; other kinds do not."""


class Truth(Protocol):
    """The true labels of texts."""

    @property
    def facts_per_entity(self) -> int:
        """Number of consecutive facts that are about one entity."""

    def to_forget(self, topics: Tensor) -> Tensor:
        """Return which texts, given by their topics, are to be forgotten."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelConfig:
    """Quality of the labels, and what a classifier may read to correct them.

    Raises:
        ValueError: if a share is out of its range.
    """

    recall: Annotated[float, tyro.conf.arg(name="label-recall")] = 1.0
    """Share of the texts to forget that is labeled forget."""
    precision: Annotated[float, tyro.conf.arg(name="label-precision")] = 1.0
    """Share of the texts labeled forget that is to be forgotten."""
    errors: Annotated[Errors, tyro.conf.arg(name="label-errors")] = "iid"
    """Which stories are mislabeled together. iid: none, each is mislabeled by itself; topic: all
    that state the same fact first; entity: a story is labeled only if the overseer knows all
    creatures in it, and a share of them is known. Labels retain, where a method is told some, are
    missing in the same way."""
    reads: Annotated[Reads, tyro.conf.arg(name="classifier-reads")] = "tokens"
    """What the classifier of methods such as filtered-classified sees of a text: the tokens that it
    has, or also its pairs of adjacent tokens."""

    def __post_init__(self) -> None:
        require_number("label_recall", self.recall, UNIT)
        require_number("label_precision", self.precision, PROBABILITY_ABOVE_0)


def story_labels(task: Truth, rows: Texts, config: LabelConfig, seed: int) -> Tensor:
    """Return which texts are labeled forget, [n] bool.

    With the same seed, texts labeled at a lower recall are also labeled at a higher one.

    Raises:
        ValueError: if there are too few other texts for so low a precision.
    """
    labeled = noisy_labels(
        task.to_forget(rows.topics).numpy(),
        recall=config.recall,
        precision=config.precision,
        rng=np.random.default_rng([seed, 2]),
        groups=_groups(task, rows, config.errors),
    )
    return torch.from_numpy(labeled)


def _groups(task: Truth, rows: Texts, errors: Errors) -> NDArray[np.int64] | None:
    """Return the groups of texts that are mislabeled together, [n] or [n, t], if there are any."""
    if errors == "iid":
        return None
    read = rows.read()
    # -1 where no fact is stated
    found = read.first_facts if errors == "topic" else read.facts // task.facts_per_entity
    groups: NDArray[np.int64] = found.long().numpy()
    return groups


RETAIN_STREAM = 6
"""Separates the random stream of labels retain that are missing together from others."""


def given_retain_labels(
    task: Truth, rows: Texts, labels: Tensor, config: LabelConfig, seed: int
) -> Tensor:
    """Return labels of which those that are retain are missing like those that are forget.

    They are missing as often and, unless labels are missed one by one, as much together: by entity,
    a text is labeled retain only if all entities in it are known. The others are unlabeled.

    Args:
        task: source of the texts.
        rows: texts.
        labels: labels of the texts, [n].
        config: quality of the labels.
        seed: seed of the labels that are dropped.
    """
    if config.errors == "iid":
        return drop_retain_labels(labels, 1 - config.recall, seed)
    labeled = noisy_labels(
        (labels == RETAIN).numpy(),
        recall=config.recall,
        precision=1.0,
        rng=np.random.default_rng([seed, RETAIN_STREAM]),
        groups=_groups(task, rows, config.errors),
    )
    return torch.where((labels == RETAIN) & ~torch.from_numpy(labeled), UNLABELED, labels)


STREAM = 5
"""Separates the random stream of the topics of texts that are labeled wrongly from others."""


def topic_labels(numbers: Tensor, labels: Tensor, topics: int, seed: int) -> Tensor:
    """Return labels in which each text labeled forget is labeled with a topic, `FORGET` + k.

    A text that is labeled forget and is not to be forgotten gets a random topic. It depends on the
    seed and the place of the text alone.

    Args:
        numbers: place of the topic of each text among those to forget, -1 for others, [n].
        labels: labels of the texts, [n].
        topics: number of topics to forget.
        seed: seed of the random topics.
    """
    rng = np.random.default_rng([seed, STREAM])
    drawn = torch.from_numpy(rng.integers(topics, size=len(numbers)))
    return torch.where(labels == FORGET, FORGET + torch.where(numbers < 0, drawn, numbers), labels)


def token_labels(rows: StoryRows, labels: Tensor, unit: Unit = "document") -> Tensor:
    """Return the label of each predicted token, [n, t] int64.

    Args:
        rows: texts.
        labels: labels of the texts, [n].
        unit: with `token`, the label forget applies only to words specific to the topic, and the
            other tokens of these texts are labeled retain.

    Raises:
        ValueError: if the number of labels is not the number of texts.
    """
    if labels.shape != rows.topics.shape:
        raise ValueError(
            f"labels of shape {tuple(labels.shape)} were given for {len(rows)} stories: give "
            "each story one label"
        )
    labels_nt = labels[:, None].expand(rows.kinds.shape)
    if unit == "document":
        return labels_nt
    of_topic = torch.isin(rows.kinds, torch.tensor([int(kind) for kind in TOPIC_KINDS]))
    return torch.where((labels_nt == FORGET) & ~of_topic, RETAIN, labels_nt)


def drop_retain_labels(labels: Tensor, share: float, seed: int) -> Tensor:
    """Return labels of which a random share of those that are retain becomes unlabeled.

    Raises:
        ValueError: if the share is not between 0 and 1.
    """
    require_number("share", share, UNIT)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(len(labels), generator=generator, dtype=torch.float64) < share
    drawn = drawn.to(labels.device).view(-1, *[1] * (labels.ndim - 1))
    return torch.where(drawn & (labels == RETAIN), UNLABELED, labels)


CHUNK = 4096
"""Number of texts that are read at a time."""


@dataclass(frozen=True, eq=False)
class Routed:
    """Texts with labels that become routes (a `lm.training.batches.Source`).

    Raises:
        ValueError: if the number of labels is not the number of texts.
    """

    texts: Texts
    """The texts, in memory or on disk."""
    labels: Tensor
    """The labels of the texts, [n]."""
    unit: Unit = "document"
    """Which tokens of a text labeled forget get the label."""
    weights: Tensor | None = None
    """Weight of each token of the vocabulary, [v], if forget tokens are routed by weight."""

    def __post_init__(self) -> None:
        if self.labels.shape != self.texts.topics.shape:
            raise ValueError(
                f"labels of shape {tuple(self.labels.shape)} were given for {len(self)} texts: "
                "give each one label"
            )

    @property
    def digest(self) -> str:
        """A checksum of texts and routes."""
        content = f"{self.texts.digest} {checksum(self.labels)} {self.unit}"
        if self.weights is not None:
            content += f" {self.weights.tolist()}"
        return sha256(content.encode()).hexdigest()

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
        forget, others = (torch.zeros(vocab_size, dtype=torch.int64) for _ in range(2))
        for rows in torch.split(torch.arange(len(self)), CHUNK):
            tokens, routes = self.read(rows)
            targets = tokens[:, 1:]
            real = targets >= 0
            forget += torch.bincount(targets[real & (routes == FORGET)], minlength=vocab_size)
            others += torch.bincount(targets[real & (routes != FORGET)], minlength=vocab_size)
        return forget, others
