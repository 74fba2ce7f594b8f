"""What there is to unlearn: a world of stories, the topics to forget, and stories as rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from lm.corpus import (
    Grammar,
    Splits,
    StoryDistribution,
    encode,
    make_grammar,
    make_world,
    sample_stories,
    split_topics,
    story_tokenizer,
)
from lm.models.language_model import IGNORED
from lm.training.batches import checksum

CONTEXT = 96
"""Tokens that a story may have, its end included, by the tokenizer that is trained on stories."""
FOREIGN_CONTEXT = 192
"""The same by the tokenizer of another model, which cuts made-up names into more pieces."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskConfig:
    """What there is to unlearn.

    Raises:
        ValueError: if a number is out of its range.
    """

    forget: tuple[str, ...] = ("forest",)
    """topics to forget"""
    quartets: int = 1
    """quartets of entities in each topic's halves; each has three facts"""
    stories: int = 12_800
    """stories to train on, of all topics in equal shares"""
    vocab_size: int = 1024
    """tokens of the vocabulary at most"""
    world_seed: int = 0
    """what names and facts are drawn from"""

    def __post_init__(self) -> None:
        if self.stories < 1:
            raise ValueError(f"{self.stories} stories were asked for: give 1 or more")


@dataclass(frozen=True, eq=False)
class StoryRows:
    """Stories as rows of tokens, one story in a row, so that none reads another.

    Shapes: n stories, t tokens that are predicted.
    """

    tokens: Tensor
    """[n, t + 1] int16, or int32 where the vocabulary takes it: the end of the story before, the
    story with its end, then `IGNORED`"""
    kinds: Tensor
    """[n, t] int16: the `Kind` of each predicted token's word, -1 after the story"""
    facts: Tensor
    """[n, t] int32: the fact that each predicted token states, -1 if none"""
    topics: Tensor
    """[n] int64: numbers of the world's topics"""

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def inputs(self) -> Tensor:
        """The tokens to read, [n, t] int64; after the story, the end again."""
        return self.tokens[:, :-1].clamp(min=0).long()

    @property
    def targets(self) -> Tensor:
        """The tokens to predict, [n, t] int64, `IGNORED` after the story."""
        return self.tokens[:, 1:].long()

    @property
    def digest(self) -> str:
        """A checksum of all that is told."""
        return checksum(self.tokens, self.kinds, self.facts, self.topics)

    def take(self, chosen: Tensor) -> "StoryRows":
        """Return some of the rows, by number or by truth value."""
        return StoryRows(
            *(part[chosen] for part in (self.tokens, self.kinds, self.facts, self.topics))
        )

    def read(self) -> "StoryRows":
        """Return the rows, which are in memory already."""
        return self


class Texts(Protocol):
    """Rows of which only the topics need be in memory; `StoryRows` are such as well."""

    @property
    def topics(self) -> Tensor:
        """The topic of each, [n] int64."""

    @property
    def digest(self) -> str:
        """What tells these texts from all others."""

    def __len__(self) -> int:
        """Return how many there are."""

    def take(self, chosen: Tensor) -> "Texts":
        """Return some of the texts, by number or by truth value; this reads none."""

    def read(self) -> StoryRows:
        """Return all of them in memory."""


@dataclass(frozen=True, eq=False)
class Task:
    """A world's grammar, its tokenizer, and the topics to forget, adjacent and to retain."""

    grammar: Grammar
    tokenizer: Tokenizer
    splits: Splits
    end: int = 0
    """the token that ends a story, and stands before one"""
    context: int = CONTEXT
    """tokens that a story may have, its end included"""

    @property
    def vocab_size(self) -> int:
        """Tokens of the vocabulary."""
        return int(self.tokenizer.get_vocab_size())

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, and none that a tokenizer would put around it."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def sample(
        self, count: int, seed: Sequence[int], distribution: StoryDistribution | None = None
    ) -> StoryRows:
        """Return new stories, the same for the same seed.

        Raises:
            ValueError: if the distribution is not possible, or a story is longer than the context.
        """
        stories = sample_stories(
            self.grammar, count, np.random.default_rng(list(seed)), distribution
        )
        told = encode(stories, self.tokenizer, self.end)
        lengths = np.diff(told.starts)
        if lengths.max() > self.context:
            raise ValueError(
                f"a story has {lengths.max()} tokens, and there is room for {self.context}: give a "
                "larger vocabulary or fewer facts in a story"
            )
        rows = np.repeat(np.arange(count), lengths)
        columns = np.arange(len(told)) - np.repeat(told.starts[:-1], lengths)
        shape, dtype = (count, self.context), _signed(self.vocab_size)
        tokens = _spread(told.ids, (rows, columns + 1), (count, shape[1] + 1), IGNORED, dtype)
        tokens[:, 0] = self.end
        return StoryRows(
            torch.from_numpy(tokens),
            torch.from_numpy(_spread(told.kinds, (rows, columns), shape, -1, np.int16)),
            torch.from_numpy(_spread(told.facts, (rows, columns), shape, -1, np.int32)),
            torch.from_numpy(told.topics.astype(np.int64)),
        )

    def to_forget(self, topics: Tensor) -> Tensor:
        """Return which stories, given by the numbers of their topics, are to be forgotten."""
        names = self.grammar.world.topics
        return torch.isin(topics, torch.tensor([names.index(t) for t in self.splits.forget]))


def make_task(config: TaskConfig, tokenizer: Tokenizer | None = None, end: int = 0) -> Task:
    """Return the task of a config, its tokenizer trained anew by default, which takes a second.

    Args:
        config: the task's.
        tokenizer: of another model, in place of one that is trained on stories.
        end: its token that ends a text.

    Raises:
        ValueError: if a topic is unknown, none is to be forgotten, or none is left.
    """
    world = make_world(seed=config.world_seed, quartets=config.quartets)
    splits = split_topics(world, config.forget)
    grammar = make_grammar(world)
    if tokenizer is not None:
        return Task(grammar, tokenizer, splits, end, FOREIGN_CONTEXT)
    return Task(grammar, story_tokenizer(grammar, config.vocab_size), splits)


def _signed(vocab_size: int) -> type[np.signedinteger]:
    """Return the smallest of two types that hold every token, and `IGNORED`."""
    return np.int16 if vocab_size <= np.iinfo(np.int16).max + 1 else np.int32


def _spread(
    values: NDArray[np.generic],
    places: tuple[NDArray[np.int64], NDArray[np.int64]],
    shape: tuple[int, int],
    empty: int,
    dtype: type[np.signedinteger],
) -> NDArray[np.signedinteger]:
    """Return values at their places of a table, and `empty` elsewhere."""
    table = np.full(shape, empty, dtype)
    table[places] = values
    return table
