"""What there is to unlearn, as far as an experiment knows it: stories, or documents of any kind.

Stories as what there is to unlearn: a world of topics and facts, told anew whenever asked.

Documents as what there is to unlearn: prepared shards, whose labels say what to forget.

A document's topic is its label. Its labels are the truth, and a run's `LabelConfig` makes the
learner's worse. Nothing asks for facts, as none are known. Learning, exams, calibration and attacks
have pools of documents that never overlap (`lm.data.shards`).

Documents as texts to learn from, read off the mapped shards when they are asked for.

Sample texts: how a model goes on with stories of each kind that it has never read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lm.attacks.relearning import ATTACKS, draw_examples
from lm.attacks.results import Row
from lm.attacks.suite import GridConfig, rounded, run_inference_attack
from lm.config import UnlearnConfig
from lm.corpus import Kind, StoryDistribution
from lm.data.labeling import Labels
from lm.data.shards import SHARES, Pools, Shards, document_row
from lm.data.task import StoryRows, Task, Texts
from lm.evaluation.exam import Exam, ExamConfig, Section, make_exam
from lm.models.language_model import IGNORED, LanguageModel, generate
from lm.training.route_tables import FORGET, LABELS, RETAIN, UNLABELED

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


Split = Literal["forget", "retain"]
"""What is to be forgotten, and what is to stay."""


class Subject(Protocol):
    """What there is to unlearn."""

    @property
    def vocab_size(self) -> int:
        """Tokens of the vocabulary."""

    @property
    def end(self) -> int:
        """The token that ends a text, and stands before one."""

    @property
    def context(self) -> int:
        """Tokens that a text may have, its end included."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What runs on it depend on beside their settings, as plain data."""

    def sample(self, count: int, seed: Sequence[int]) -> Texts:
        """Return texts to learn from and to choose by, the same for the same seed."""

    def to_forget(self, topics: Tensor) -> Tensor:
        """Return which texts, given by their topics, are to be forgotten: the truth."""

    def retain_labels(self, topics: Tensor) -> Tensor:
        """Return the labels of texts, by their topics, where none is labeled forget."""

    def exam(self, seed: int, config: ExamConfig) -> Exam:
        """Return an exam on texts that nothing learns from, the same for the same seed."""

    def supports_attack(self, attack: str) -> bool:
        """Return whether it has what an attack, by its name, trains on and asks for."""

    def examples(self, attack: str, count: int, seed: int) -> StoryRows:
        """Return texts for an attack to train on, the same for the same seed."""

    def run_inference_attack(
        self, model: LanguageModel, exam: Exam, attack: str, config: GridConfig, seed: int
    ) -> list[Row]:
        """Return what an attack that trains nothing of a model gets out of it."""

    def prompts(self, split: Split, count: int, seed: int) -> StoryRows:
        """Return texts of a split that nothing learns from, for a model to go on with."""

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""


class Stories(Task):
    """A task of stories, as an experiment asks for it (`lm.datasets.Subject`)."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Nothing: settings say it all."""
        return {}

    def retain_labels(self, topics: Tensor) -> Tensor:
        """Return `RETAIN` for each story."""
        return torch.full_like(topics, RETAIN)

    def exam(self, seed: int, config: ExamConfig) -> Exam:
        """Return an exam of new stories, and of questions about their facts."""
        return make_exam(self, seed, config)

    def supports_attack(self, attack: str) -> bool:
        """Return whether there are topics for an attack: all may be adjacent to those to forget."""
        own = ATTACKS.get(attack)
        return own is None or own.split == "forget" or bool(self.splits.retain)

    def examples(self, attack: str, count: int, seed: int) -> StoryRows:
        """Return new stories for an attack to train on."""
        return draw_examples(self, attack, count, seed)

    def run_inference_attack(
        self, model: LanguageModel, exam: Exam, attack: str, config: GridConfig, seed: int
    ) -> list[Row]:
        """Return what an attack that trains nothing of a model gets out of it."""
        return run_inference_attack(model, self, exam, attack, config, seed)

    def prompts(self, split: Split, count: int, seed: int) -> StoryRows:
        """Return new stories of a split; adjacent ones where none is to be retained."""
        topics = getattr(self.splits, split) or self.splits.adjacent
        number = ("forget", "retain").index(split)
        return self.sample(count, (seed, 90, number), StoryDistribution(topics=topics))

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
        text: str = self.tokenizer.decode(list(tokens))
        return text


@dataclass(frozen=True, eq=False)
class DocumentTexts:
    """Some of the documents, by number (`lm.data.task.Texts`)."""

    shards: Shards
    """of the documents"""
    labels: Labels
    """of all documents in them"""
    numbers: NDArray[np.int64]
    """of these documents"""
    context: int
    """tokens of a row; longer documents are cut"""

    @property
    def topics(self) -> Tensor:
        """The label of each document."""
        return torch.from_numpy(self.labels[self.numbers].astype(np.int64))

    @property
    def digest(self) -> str:
        """A checksum of the documents, and which of them these are."""
        own = f"{self.shards.digest} {self.context} ".encode()
        return sha256(own + self.numbers.tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, chosen: Tensor) -> "DocumentTexts":
        """Return some of the documents, by place or by truth value."""
        return replace(self, numbers=self.numbers[chosen.numpy()])

    def read(self) -> StoryRows:
        """Return the documents, one in a row.

        Tokens labeled forget are of the kind that is a topic's own, for methods with such labels.
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


PROMPT, ADDED = 12, 48
"""Tokens of a text that the model is given, and that it adds."""
COUNT = 2
"""Texts of each split."""


def samples(
    model: LanguageModel, task: Subject, seed: int, count: int = COUNT
) -> dict[str, list[str]]:
    """Return texts to forget and to retain, as a model goes on with them, by split.

    Args:
        model: on any device.
        task: whose texts it was trained on.
        seed: of the texts, which it was not trained on.
        count: how many of each split.
    """
    found = {}
    for split in get_args(Split):
        rows = task.prompts(split, count, seed)
        prompt = rows.inputs[:, :PROMPT].to(model.device)
        texts = generate(model, prompt, ADDED).tolist()
        found[split] = [_text(task, tokens) for tokens in texts]
    return found


def _text(task: Subject, tokens: list[int]) -> str:
    """Return what stands between the first end of a story and the next."""
    story = tokens[1:]
    end = story.index(task.end) if task.end in story else len(story)
    return task.decode(story[:end])


OF_SPLIT: dict[Split, int] = {"forget": FORGET, "retain": RETAIN}
"""The label of each split."""
WITHOUT_FACTS = ("same", "benign", "lora-same", "lora-benign", "quantized")
"""Attacks that neither tell facts nor ask for them."""


class Documents:
    """Prepared documents, as an experiment asks for them (`lm.datasets.Subject`).

    Args:
        shards: the documents.
        tokenizer: theirs.
        context: tokens of a row; longer documents are cut.
    """

    def __init__(self, shards: Shards, tokenizer: "PreTrainedTokenizerBase", context: int) -> None:
        self.shards, self.tokenizer, self.context = shards, tokenizer, context
        self.vocab_size = shards.manifest.vocabulary.size
        self.end = shards.manifest.vocabulary.end

    @cached_property
    def pools(self) -> Pools:
        """The documents by pool and label."""
        return Pools(self.shards.document_labels())

    @property
    def identity(self) -> Mapping[str, Any]:
        """A checksum of all documents and labels."""
        return {"documents": self.shards.digest}

    def sample(self, count: int, seed: Sequence[int]) -> DocumentTexts:
        """Return documents to learn from, of all labels as they come; they stay on the disk.

        Raises:
            ValueError: if there are fewer.
        """
        return self._texts(self.pools.draw("train", count, seed))

    def to_forget(self, topics: Tensor) -> Tensor:
        """Return which documents are to be forgotten."""
        return topics == FORGET

    def retain_labels(self, topics: Tensor) -> Tensor:
        """Return `UNLABELED` for the documents that were prepared so, and `RETAIN` for others."""
        return torch.where(topics == UNLABELED, UNLABELED, RETAIN)

    def exam(self, seed: int, config: ExamConfig) -> Exam:
        """Return an exam of documents to forget and to retain, without questions."""
        asked, practice = (self._drawn(pool, config.stories, seed) for pool in ("exam", "practice"))
        sections = {split: Section(rows, None) for split, rows in asked.items()}
        return Exam(sections, practice, {}, None)

    def supports_attack(self, attack: str) -> bool:
        """Return whether an attack does without facts."""
        return attack in WITHOUT_FACTS

    def examples(self, attack: str, count: int, seed: int) -> StoryRows:
        """Return documents for an attack to train on.

        Raises:
            ValueError: if there are fewer.
        """
        label = OF_SPLIT[ATTACKS[attack].split]
        return self._texts(self.pools.draw("attack", count, [seed, label], label)).read()

    def run_inference_attack(
        self, model: LanguageModel, exam: Exam, attack: str, config: GridConfig, seed: int
    ) -> list[Row]:
        """Return the losses of rounded models: all other looks are for facts."""
        assert attack in WITHOUT_FACTS
        return rounded(model, exam, config.bits)

    def prompts(self, split: Split, count: int, seed: int) -> StoryRows:
        """Return documents of a split out of those that models are examined on."""
        return self._drawn("exam", count, seed)[split]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
        return str(self.tokenizer.decode(list(tokens)))

    def _drawn(self, pool: str, count: int, seed: int) -> dict[str, StoryRows]:
        """Return documents of a pool, as many of each split."""
        return {
            split: self._texts(self.pools.draw(pool, count, [seed, label], label)).read()
            for split, label in OF_SPLIT.items()
        }

    def _texts(self, numbers: NDArray[np.int64]) -> DocumentTexts:
        """Return documents by number."""
        return DocumentTexts(self.shards, self.pools.labels, numbers, self.context)


def require_enough(documents: Documents, config: UnlearnConfig) -> None:
    """Raise a ValueError if there are too few documents for the settings of a run."""
    split = tuple(OF_SPLIT.values())
    attacked = max(config.attack.num_examples)
    needs = (
        ("train", (None,), config.task.stories + config.repair.stories, "task.stories"),
        ("exam", split, max(config.exam.stories, COUNT), "exam.stories"),
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
