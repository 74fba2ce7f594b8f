"""Unlearning tasks: stories of a made-up world, or prepared documents of any kind.

A run uses both through one protocol, `UnlearningTask`: texts to train on, their true labels, an
exam, examples and questions for attacks, and prompts for sample texts.

The topic of a document is the label that its preparation gave it. These are the true labels, and
the `LabelConfig` of a run adds errors to them. Documents come without facts, so that no exam or
attack asks for facts. Training, exams, calibration and attacks draw from disjoint pools of
documents (`lm.data.shards`), and training texts are read from the mapped shards when a batch needs
them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lm.attacks.config import GridConfig
from lm.attacks.relearning import ATTACKS, draw_examples
from lm.attacks.results import Row
from lm.attacks.suite import rounded, run_inference_attack
from lm.config import RunConfig
from lm.corpus import Kind, StoryDistribution
from lm.data.labeling import Labels
from lm.data.shards import SHARES, Manifest, Pools, Shards, document_row, read_manifest
from lm.data.task import StoryRows, Task, Texts
from lm.evaluation.exam import Exam, ExamConfig, Section, make_exam
from lm.models.language_model import IGNORED, LanguageModel, generate
from lm.training.route_tables import FORGET, LABELS, RETAIN, UNLABELED

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


Split = Literal["forget", "retain"]
"""Texts to forget, and texts to retain."""


class UnlearningTask(Protocol):
    """Texts to learn and to forget, with an exam and attacks."""

    @property
    def vocab_size(self) -> int:
        """Number of tokens of the vocabulary."""

    @property
    def start(self) -> int:
        """The token before each text."""

    @property
    def end(self) -> int:
        """The token after each text."""

    @property
    def context(self) -> int:
        """Maximum number of tokens of a text, including its end token."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Plain data, apart from its settings, that determines the results of a run."""

    def sample(self, count: int, seed: Sequence[int]) -> Texts:
        """Return texts to train on, which the seed determines."""

    def to_forget(self, topics: Tensor) -> Tensor:
        """Return which texts, given by their topics, are to be forgotten, by the true labels."""

    def retain_labels(self, topics: Tensor) -> Tensor:
        """Return the labels of texts that are not labeled forget, by their topics."""

    def exam(self, seed: int, config: ExamConfig) -> Exam:
        """Return an exam on texts that no run trains on, which the seed determines."""

    def supports_attack(self, attack: str) -> bool:
        """Return whether the task has the texts and questions that an attack needs."""

    def examples(self, attack: str, count: int, seed: int) -> StoryRows:
        """Return texts for an attack to train on, which the seed determines."""

    def run_inference_attack(
        self, model: LanguageModel, exam: Exam, attack: str, config: GridConfig, seed: int
    ) -> list[Row]:
        """Return the result of an attack that trains no parameter of the model."""

    def prompts(self, split: Split, count: int, seed: int) -> StoryRows:
        """Return texts of a split that a model can continue, on which no run trains."""

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""

    @property
    def around(self) -> tuple[str, str]:
        """The tokens before and after each text, as text."""


class StoryTask(Task):
    """Stories of a made-up world as an `UnlearningTask`."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """An empty mapping, since the settings determine all stories."""
        return {}

    def retain_labels(self, topics: Tensor) -> Tensor:
        """Return `RETAIN` for each story."""
        return torch.full_like(topics, RETAIN)

    def exam(self, seed: int, config: ExamConfig) -> Exam:
        """Return an exam of new stories, and of questions about their facts."""
        return make_exam(self, seed, config)

    def supports_attack(self, attack: str) -> bool:
        """Return whether the attack has topics: without retained topics, none are benign."""
        own = ATTACKS.get(attack)
        return own is None or own.split == "forget" or bool(self.splits.retain)

    def examples(self, attack: str, count: int, seed: int) -> StoryRows:
        """Return new stories for an attack to train on."""
        return draw_examples(self, attack, count, seed)

    def run_inference_attack(
        self, model: LanguageModel, exam: Exam, attack: str, config: GridConfig, seed: int
    ) -> list[Row]:
        """Return the result of an attack that trains no parameter of the model."""
        return run_inference_attack(model, self, exam, attack, config, seed)

    def prompts(self, split: Split, count: int, seed: int) -> StoryRows:
        """Return new stories of a split, or adjacent stories if no topic is to be retained."""
        topics = getattr(self.splits, split) or self.splits.adjacent
        number = ("forget", "retain").index(split)
        return self.sample(count, (seed, 90, number), StoryDistribution(topics=topics))

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
        text: str = self.tokenizer.decode(list(tokens))
        return text

    @property
    def around(self) -> tuple[str, str]:
        """The tokens before and after each story, as text."""
        name = self.tokenizer.id_to_token
        return str(name(self.start)), str(name(self.end))


@dataclass(frozen=True, eq=False)
class DocumentTexts:
    """Documents by number (`lm.data.task.Texts`), which are read from disk on demand."""

    shards: Shards
    """Shards of the documents."""
    labels: Labels
    """Labels of all documents in the shards."""
    numbers: NDArray[np.int64]
    """Indices of these documents in the shards."""
    context: int
    """Number of tokens in a row; longer documents are cut."""

    @property
    def topics(self) -> Tensor:
        """The label of each document."""
        return torch.from_numpy(self.labels[self.numbers].astype(np.int64))

    @property
    def digest(self) -> str:
        """A checksum of all documents in the shards and of the chosen numbers."""
        prefix = f"{self.shards.digest} {self.context} ".encode()
        return sha256(prefix + self.numbers.tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, chosen: Tensor) -> "DocumentTexts":
        """Return some of the documents, by position or by a boolean mask."""
        return replace(self, numbers=self.numbers[chosen.numpy()])

    def read(self) -> StoryRows:
        """Return the documents, one in each row.

        Methods that label tokens treat tokens labeled forget as words specific to the topic.
        """
        tokens = np.empty((len(self), self.context + 1), np.int32)
        labels = np.empty((len(self), self.context), np.int8)
        for place, number in enumerate(self.numbers):
            tokens[place], labels[place] = document_row(self.shards, int(number), self.context)
        kinds = np.where(labels == FORGET, np.int16(Kind.NOUN), np.int16(Kind.FRAME))
        kinds[tokens[:, 1:] == IGNORED] = -1
        return StoryRows(
            tokens=torch.from_numpy(tokens),
            kinds=torch.from_numpy(kinds),
            facts=torch.full(kinds.shape, -1, dtype=torch.int32),
            topics=self.topics,
        )


SPLIT_LABELS: dict[Split, int] = {"forget": FORGET, "retain": RETAIN}
"""The label of each split."""
PROMPT, CONTINUATION = 12, 48
"""Numbers of tokens of a sample text that the model is given and that it generates."""
SAMPLES = 2
"""Number of sample texts of each split."""


def sample_texts(
    model: LanguageModel, task: UnlearningTask, seed: int, count: int = SAMPLES
) -> dict[str, list[str]]:
    """Return the continuations by a model of texts to forget and texts to retain, by split.

    Args:
        model: a model on any device.
        task: source of the texts.
        seed: seed of the texts, on which the model was not trained.
        count: number of texts of each split.
    """
    found: dict[str, list[str]] = {split: [] for split in SPLIT_LABELS}
    for split in SPLIT_LABELS:
        prompt = task.prompts(split, count, seed).inputs[:, :PROMPT].to(model.device)
        for _, *story in generate(model, prompt, CONTINUATION).tolist():
            end = story.index(task.end) if task.end in story else len(story)
            found[split].append(task.decode(story[:end]))
    return found


WITHOUT_FACTS = ("same", "benign", "lora-same", "lora-benign", "quantized")
"""Attacks that need no facts."""


class DocumentTask:
    """Prepared documents as an `UnlearningTask`.

    Args:
        shards: shards of the documents.
        tokenizer: tokenizer of the documents.
        context: number of tokens in a row; longer documents are cut.
    """

    def __init__(self, shards: Shards, tokenizer: "PreTrainedTokenizerBase", context: int) -> None:
        self.shards, self.tokenizer, self.context = shards, tokenizer, context
        self.vocab_size = shards.manifest.vocabulary.size
        self.start = shards.manifest.vocabulary.start
        self.end = shards.manifest.vocabulary.end

    @cached_property
    def pools(self) -> Pools:
        """The documents by pool and label."""
        return Pools(self.shards.document_labels())

    @property
    def identity(self) -> Mapping[str, Any]:
        """A checksum of all documents and labels."""
        return _identity(self.shards.manifest)

    def sample(self, count: int, seed: Sequence[int]) -> DocumentTexts:
        """Return documents of all labels to train on; they stay on disk.

        Raises:
            ValueError: if the pool has fewer documents.
        """
        return self._texts(self.pools.draw("train", count, seed))

    def to_forget(self, topics: Tensor) -> Tensor:
        """Return which documents are to be forgotten."""
        return topics == FORGET

    def retain_labels(self, topics: Tensor) -> Tensor:
        """Return `UNLABELED` for documents prepared without a label, and `RETAIN` for others."""
        return torch.where(topics == UNLABELED, UNLABELED, RETAIN)

    def exam(self, seed: int, config: ExamConfig) -> Exam:
        """Return an exam of documents to forget and to retain, without questions."""
        asked, practice = (self._drawn(pool, config.stories, seed) for pool in ("exam", "practice"))
        sections = {split: Section(rows, None) for split, rows in asked.items()}
        return Exam(sections, practice, {}, None)

    def supports_attack(self, attack: str) -> bool:
        """Return whether an attack needs no facts."""
        return attack in WITHOUT_FACTS

    def examples(self, attack: str, count: int, seed: int) -> StoryRows:
        """Return documents for an attack to train on.

        Raises:
            ValueError: if the pool has fewer documents.
        """
        label = SPLIT_LABELS[ATTACKS[attack].split]
        return self._texts(self.pools.draw("attack", count, [seed, label], label)).read()

    def run_inference_attack(
        self, model: LanguageModel, exam: Exam, attack: str, config: GridConfig, seed: int
    ) -> list[Row]:
        """Return the losses of quantized models; other attacks without training need facts."""
        assert attack in WITHOUT_FACTS
        return rounded(model, exam, config.bits)

    def prompts(self, split: Split, count: int, seed: int) -> StoryRows:
        """Return documents of a split from the pool of exams."""
        return self._drawn("exam", count, seed)[split]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
        return str(self.tokenizer.decode(list(tokens)))

    @property
    def around(self) -> tuple[str, str]:
        """The tokens before and after each document, as text."""
        return self.shards.manifest.vocabulary.around

    def _drawn(self, pool: str, count: int, seed: int) -> dict[str, StoryRows]:
        """Return the same number of documents of each split from a pool."""
        return {
            split: self._texts(self.pools.draw(pool, count, [seed, label], label)).read()
            for split, label in SPLIT_LABELS.items()
        }

    def _texts(self, numbers: NDArray[np.int64]) -> DocumentTexts:
        """Return documents by number."""
        return DocumentTexts(self.shards, self.pools.labels, numbers, self.context)


def data_identity(config: RunConfig) -> dict[str, Any]:
    """Return the identity of the task of a run without loading it.

    Raises:
        ValueError: if the documents of the run are no longer there.
    """
    return {} if config.data is None else _identity(read_manifest(config.data))


def _identity(manifest: Manifest) -> dict[str, Any]:
    return {"documents": manifest.digest}


def require_enough_documents(documents: DocumentTask, config: RunConfig) -> None:
    """Raise a ValueError if there are too few documents for the settings of a run."""
    for name, number in SPLIT_LABELS.items():
        if number not in documents.pools.labels:
            raise ValueError(
                f"{documents.shards.folder} has no document labeled {name}, so that there is "
                f"nothing to {name}: prepare the data with other labels"
            )
    split = tuple(SPLIT_LABELS.values())
    attacked = max(config.attack.num_examples)
    needs = (
        ("train", (None,), config.task.stories + config.repair.stories, "task.stories"),
        ("exam", split, max(config.exam.stories, SAMPLES), "exam.stories"),
        ("practice", split, config.exam.stories, "exam.stories"),
        ("attack", split, attacked, "attack.num-examples"),
    )
    for pool, labels, count, flag in needs:
        for label in labels:
            found = len(documents.pools.members(pool, label))
            if found < count:
                kind = "" if label is None else f" labeled {LABELS[label]}"
                raise ValueError(
                    f"{documents.shards.folder} has {found} documents{kind} in the pool {pool!r} "
                    f"({SHARES[pool]:.0%} of all), and {count} are needed: prepare more, or give a "
                    f"smaller --{flag}"
                )
