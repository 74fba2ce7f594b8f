"""Unlearning tasks: stories of a made-up world, or prepared documents of any kind.

A run uses both through one protocol, `UnlearningTask`: texts to train on, their true labels, an
exam, examples and questions for attacks, and prompts for sample texts.

The topic of a document is the label that its preparation gave it. These are the true labels, and
the `LabelConfig` of a run adds errors to them. Documents come without facts: exams and attacks ask
the user's questions, if there are some (`--questions`). Training, exams, calibration and attacks
draw from disjoint pools of documents (`lm.data.pools`), and training texts are read from the mapped
shards when a batch needs them.
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
from lm.attacks.probing import logit_lens
from lm.attacks.relearning import ATTACKS, draw_examples
from lm.attacks.results import Row
from lm.attacks.suite import rounded, run_inference_attack
from lm.config import RunConfig
from lm.corpus import HALVES, Kind, StoryDistribution
from lm.data.document import Marks
from lm.data.labeling import BY_TOKEN, Labels
from lm.data.pools import SHARES, Pools, pools_of
from lm.data.shards import Manifest, Shards, document_row, read_manifest
from lm.data.task import StoryRows, Task, Texts
from lm.data.texts import TextsConfig
from lm.evaluation.exam import Exam, ExamConfig, Section, make_exam
from lm.evaluation.harness import QuestionSet, find_questions
from lm.evaluation.quiz import Quiz, draw_records, encode_records, guessing_share
from lm.labels import Unit
from lm.models.language_model import IGNORED, LanguageModel, generate
from lm.relearning import HALF, Relearning, relearning_of
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

    @property
    def labeled_unit(self) -> Unit:
        """What of a text labeled forget methods after training unlearn."""

    @property
    def facts_per_entity(self) -> int:
        """Number of consecutive facts that are about one entity."""

    def sample(self, count: int, seed: Sequence[int]) -> Texts:
        """Return texts to train on, which the seed determines."""

    def to_forget(self, topics: Tensor) -> Tensor:
        """Return which texts, given by their topics, are to be forgotten, by the true labels."""

    def forget_numbers(self, topics: Tensor) -> Tensor:
        """Return the place of each text's topic among those to forget, [n]; -1 for others."""

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

    @property
    def labeled_unit(self) -> Unit:
        """All tokens of a story."""
        return "document"

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


LENS = "logit-lens"
"""The attack that needs questions about what is to be forgotten, and nothing else about facts."""
WITHOUT_FACTS = ("same", "benign", "lora-same", "lora-benign", "quantized")
"""Attacks that need no facts."""


class DocumentTask:
    """Prepared documents as an `UnlearningTask`.

    Args:
        shards: shards of the documents.
        tokenizer: tokenizer of the documents.
        context: number of tokens in a row; longer documents are cut.
        questions: questions about what is to be forgotten or retained, by split.
        relearning: texts and questions for the attack `half`; without them it is not run.
    """

    def __init__(
        self,
        shards: Shards,
        tokenizer: "PreTrainedTokenizerBase",
        context: int,
        questions: Mapping[Split, QuestionSet] | None = None,
        relearning: Relearning | None = None,
    ) -> None:
        self.shards, self.tokenizer, self.context = shards, tokenizer, context
        self.questions, self.relearning = questions or {}, relearning
        self.vocab_size = shards.manifest.vocabulary.size
        self.start = shards.manifest.vocabulary.start
        self.end = shards.manifest.vocabulary.end

    @cached_property
    def pools(self) -> Pools:
        """The documents by pool and label."""
        return pools_of(self.shards)

    @property
    def identity(self) -> Mapping[str, Any]:
        """Checksums of all documents and labels, and of the questions."""
        return _identity(self.shards.manifest, self.questions, self.relearning)

    @property
    def labeled_unit(self) -> Unit:
        """The tokens labeled forget, if single tokens were labeled, and all tokens otherwise."""
        labeler = self.shards.manifest.settings.get("labeler", {}).get("labeler")
        return "token" if labeler in BY_TOKEN else "document"

    @property
    def facts_per_entity(self) -> int:
        """One, since documents come without facts."""
        return 1

    @property
    def longest(self) -> int:
        """The number of tokens of the longest text that a model reads, questions included."""
        quizzes = [self._quiz(split, ExamConfig(), 0) for split in self.questions]
        if self.relearning is not None:
            quizzes.append(self._encoded(self.relearning.questions.records))
        lengths = [int(quiz.texts.lengths.max()) for quiz in quizzes]
        return max([self.context, *lengths])

    def sample(self, count: int, seed: Sequence[int]) -> DocumentTexts:
        """Return documents of all labels to train on; they stay on disk.

        Raises:
            ValueError: if the pool has fewer documents.
        """
        return self._texts(self.pools.draw("train", count, seed))

    def to_forget(self, topics: Tensor) -> Tensor:
        """Return which documents are to be forgotten."""
        return topics == FORGET

    def forget_numbers(self, topics: Tensor) -> Tensor:
        """Return 0 for documents to forget, which count as one topic, and -1 for others."""
        return torch.where(topics == FORGET, 0, -1)

    def retain_labels(self, topics: Tensor) -> Tensor:
        """Return `UNLABELED` for documents prepared without a label, and `RETAIN` for others."""
        return torch.where(topics == UNLABELED, UNLABELED, RETAIN)

    def exam(self, seed: int, config: ExamConfig) -> Exam:
        """Return an exam of documents to forget and to retain, with the questions about them."""
        rows = self._drawn("exam", config.stories, seed)
        sections: dict[str, Section] = {
            split: Section(
                rows[split], self._quiz(split, config, seed) if split in self.questions else None
            )
            for split in SPLIT_LABELS
        }
        if self.relearning is not None:
            records = draw_records(self.relearning.questions.records, config.questions, seed)
            shown = Section(rows["forget"], self._encoded(records))
            sections[ATTACKS[HALF].shows] = shown
        asked = {split: self._records(split, config, seed) for split in self.questions}
        chances: dict[str, float] = {
            split: guessing_share([len(each["choices"]) for each in records])
            for split, records in asked.items()
        }
        practice = self._drawn("practice", config.stories, seed)
        return Exam(sections, practice, {}, None, chances)

    def supports_attack(self, attack: str) -> bool:
        """Return whether an attack needs no facts, or only texts and questions that there are."""
        if attack in (HALF, f"lora-{HALF}"):
            return self.relearning is not None
        return attack in WITHOUT_FACTS or (attack == LENS and "forget" in self.questions)

    def examples(self, attack: str, count: int, seed: int) -> StoryRows:
        """Return documents for an attack to train on.

        Raises:
            ValueError: if there are fewer documents for it.
        """
        if ATTACKS[attack].parts != HALVES:
            assert self.relearning is not None
            around = Marks(self.start, self.end)
            return self.relearning.rows(self.tokenizer, around, self.context, count, seed)
        label = SPLIT_LABELS[ATTACKS[attack].split]
        return self._texts(self.pools.draw("attack", count, [seed, label], label)).read()

    def run_inference_attack(
        self, model: LanguageModel, exam: Exam, attack: str, config: GridConfig, seed: int
    ) -> list[Row]:
        """Return what quantized models, or the layers of a model, know; others need facts."""
        quiz = exam.sections["forget"].quiz
        if attack == LENS and quiz is not None:
            return logit_lens(model, quiz)
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
        """Return as many documents of each split from a pool, or all that a fitted pool has."""
        found: dict[str, StoryRows] = {}
        for split, label in SPLIT_LABELS.items():
            room = len(self.pools.members(pool, label)) if self.pools.fitted else count
            numbers = self.pools.draw(pool, min(count, room), [seed, label], label)
            found[split] = self._texts(numbers).read()
        return found

    def _quiz(self, split: Split, config: ExamConfig, seed: int) -> Quiz:
        """Return the questions of a split that the seed draws, encoded."""
        return self._encoded(self._records(split, config, seed))

    def _encoded(self, records: Sequence[Mapping[str, Any]]) -> Quiz:
        return encode_records(records, self.tokenizer, self.start)

    def _records(self, split: Split, config: ExamConfig, seed: int) -> list[Mapping[str, Any]]:
        return draw_records(self.questions[split].records, config.questions, seed)

    def _texts(self, numbers: NDArray[np.int64]) -> DocumentTexts:
        """Return documents by number."""
        return DocumentTexts(self.shards, self.pools.labels, numbers, self.context)


def data_identity(config: RunConfig) -> dict[str, Any]:
    """Return the identity of the task of a run without loading it.

    Raises:
        ValueError: if the documents of the run are no longer there.
    """
    if config.data is None:
        return {}
    return _identity(
        read_manifest(config.data), questions_of(config.texts), relearning_of(config.texts)
    )


def _identity(
    manifest: Manifest, questions: Mapping[Split, QuestionSet], relearning: Relearning | None
) -> dict[str, Any]:
    asked = {split: each.checksum for split, each in questions.items()}
    return {
        "documents": manifest.digest,
        **({"asked": asked} if asked else {}),
        **({"relearning": relearning.checksum} if relearning else {}),
    }


def questions_of(texts: TextsConfig) -> dict[Split, QuestionSet]:
    """Return the questions that settings name, by split.

    Raises:
        ValueError: if there are none of that name, or a record is malformed.
    """
    named: dict[Split, str | None] = {"forget": texts.questions, "retain": texts.retain_questions}
    return {split: find_questions(name) for split, name in named.items() if name is not None}


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
    practice = 1 if documents.pools.fitted else config.exam.stories
    needs = (
        ("train", (None,), config.task.stories + config.repair.stories, "task.stories"),
        ("exam", split, max(config.exam.stories, SAMPLES), "exam.stories"),
        ("practice", split, practice, "exam.stories"),
        ("attack", split, attacked, "attack.num-examples"),
    )
    stated = len(documents.relearning.texts) if documents.relearning else attacked
    if stated < attacked:
        raise ValueError(
            f"{stated} texts to relearn from were given, and {attacked} are needed: give more by "
            "--relearn, or a smaller --attack.num-examples"
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
