"""Documents as what there is to unlearn: prepared shards, whose labels say what to forget.

A document's topic is its label. Its labels are the truth, and a run's `LabelConfig` makes the
learner's worse. Nothing asks for facts, as none are known. Learning, exams, calibration and attacks
have pools of documents that never overlap (`lm.data.pools`).
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lm.attack.attacks import ATTACKS
from lm.attack.rows import Row
from lm.attack.suite import GridConfig, rounded
from lm.data.pools import SHARES, Pools
from lm.data.shards import Shards
from lm.evaluation.exam import Exam, ExamConfig, Section
from lm.experiment.config import UnlearnConfig
from lm.experiment.document_texts import DocumentTexts
from lm.experiment.samples import COUNT
from lm.experiment.subject import Split
from lm.model.language_model import LanguageModel
from lm.task import StoryRows
from lm.training.routes import FORGET, LABELS, RETAIN, UNLABELLED

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

OF_SPLIT: dict[Split, int] = {"forget": FORGET, "retain": RETAIN}
"""The label of each split."""
WITHOUT_FACTS = ("same", "benign", "lora-same", "lora-benign", "quantized")
"""Attacks that neither tell facts nor ask for them."""


class Documents:
    """Prepared documents, as an experiment asks for them (`lm.experiment.subject.Subject`).

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

    def tell(self, count: int, seed: Sequence[int]) -> DocumentTexts:
        """Return documents to learn from, of all labels as they come; they stay on the disk.

        Raises:
            ValueError: if there are fewer.
        """
        return self._texts(self.pools.draw("train", count, seed))

    def to_forget(self, topics: Tensor) -> Tensor:
        """Return which documents are to be forgotten."""
        return topics == FORGET

    def unmarked(self, topics: Tensor) -> Tensor:
        """Return `UNLABELLED` for the documents that were prepared so, and `RETAIN` for others."""
        return torch.where(topics == UNLABELLED, UNLABELLED, RETAIN)

    def exam(self, seed: int, config: ExamConfig) -> Exam:
        """Return an exam of documents to forget and to retain, without questions."""
        asked, practice = (self._drawn(pool, config.stories, seed) for pool in ("exam", "practice"))
        sections = {split: Section(rows, None) for split, rows in asked.items()}
        return Exam(sections, practice, {}, None)

    def takes(self, attack: str) -> bool:
        """Return whether an attack does without facts."""
        return attack in WITHOUT_FACTS

    def examples(self, attack: str, count: int, seed: int) -> StoryRows:
        """Return documents for an attack to train on.

        Raises:
            ValueError: if there are fewer.
        """
        label = OF_SPLIT[ATTACKS[attack].split]
        return self._texts(self.pools.draw("attack", count, [seed, label], label)).read()

    def look(
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
                kind = "" if label is None else f" labelled {LABELS[label]}"
                raise ValueError(
                    f"{documents.shards.folder} has {found} documents{kind} in the pool {pool!r} "
                    f"({SHARES[pool]:.0%} of all), and {count} are needed: prepare more, or give a "
                    f"smaller --{flag}"
                )
