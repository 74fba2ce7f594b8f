"""What there is to unlearn, as far as an experiment knows it: stories, or documents of any kind."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from torch import Tensor

from lm.attack.rows import Row
from lm.attack.suite import GridConfig
from lm.evaluation.exam import Exam, ExamConfig
from lm.model.language_model import LanguageModel
from lm.task import StoryRows, Texts

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

    def tell(self, count: int, seed: Sequence[int]) -> Texts:
        """Return texts to learn from and to choose by, the same for the same seed."""

    def to_forget(self, topics: Tensor) -> Tensor:
        """Return which texts, given by their topics, are to be forgotten: the truth."""

    def unmarked(self, topics: Tensor) -> Tensor:
        """Return the labels of texts, by their topics, where none is labelled forget."""

    def exam(self, seed: int, config: ExamConfig) -> Exam:
        """Return an exam on texts that nothing learns from, the same for the same seed."""

    def takes(self, attack: str) -> bool:
        """Return whether it has what an attack, by its name, trains on and asks for."""

    def examples(self, attack: str, count: int, seed: int) -> StoryRows:
        """Return texts for an attack to train on, the same for the same seed."""

    def look(
        self, model: LanguageModel, exam: Exam, attack: str, config: GridConfig, seed: int
    ) -> list[Row]:
        """Return what an attack that trains nothing of a model gets out of it."""

    def prompts(self, split: Split, count: int, seed: int) -> StoryRows:
        """Return texts of a split that nothing learns from, for a model to go on with."""

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
