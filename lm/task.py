"""What there is to unlearn: a world of stories, the topics to forget, and stories as rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from lm.corpus import (
    Grammar,
    Splits,
    Telling,
    encode,
    make_grammar,
    make_world,
    split_topics,
    story_tokenizer,
    tell,
)
from lm.model.cross_entropy import IGNORED

CONTEXT = 96
"""Tokens that a story may have, its end included."""


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
    """[n, t + 1] int16: the end of the story before, the story with its end, then `IGNORED`"""
    kinds: Tensor
    """[n, t] int16: the `Kind` of each predicted token's word, -1 after the story"""
    facts: Tensor
    """[n, t] int32: the fact that each predicted token states, -1 if none"""
    topics: Tensor
    """[n] int64: numbers of the world's topics"""

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def now(self) -> Tensor:
        """The tokens to read, [n, t] int64; after the story, the end again."""
        return self.tokens[:, :-1].clamp(min=0).long()

    @property
    def following(self) -> Tensor:
        """The tokens to predict, [n, t] int64, `IGNORED` after the story."""
        return self.tokens[:, 1:].long()

    def take(self, chosen: Tensor) -> "StoryRows":
        """Return some of the rows, by number or by truth value."""
        return StoryRows(
            *(part[chosen] for part in (self.tokens, self.kinds, self.facts, self.topics))
        )


@dataclass(frozen=True, eq=False)
class Task:
    """A world's grammar, its tokenizer, and the topics to forget, adjacent and to retain."""

    grammar: Grammar
    tokenizer: Tokenizer
    splits: Splits

    @property
    def vocab_size(self) -> int:
        """Tokens of the vocabulary."""
        return int(self.tokenizer.get_vocab_size())

    def tell(self, count: int, seed: Sequence[int], telling: Telling | None = None) -> StoryRows:
        """Return new stories, the same for the same seed.

        Raises:
            ValueError: if the telling is not possible, or a story is longer than `CONTEXT`.
        """
        stories = tell(self.grammar, count, np.random.default_rng(list(seed)), telling)
        told = encode(stories, self.tokenizer)
        lengths = np.diff(told.starts)
        if lengths.max() > CONTEXT:
            raise ValueError(
                f"a story has {lengths.max()} tokens, and there is room for {CONTEXT}: give a "
                "larger vocabulary or fewer facts in a story"
            )
        rows = np.repeat(np.arange(count), lengths)
        columns = np.arange(len(told)) - np.repeat(told.starts[:-1], lengths)
        shape = (count, CONTEXT)
        tokens = _spread(told.ids, (rows, columns + 1), (count, CONTEXT + 1), IGNORED, np.int16)
        tokens[:, 0] = 0  # the end of a story is token 0
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


def make_task(config: TaskConfig) -> Task:
    """Return the task of a config, its tokenizer trained anew, which takes a second.

    Raises:
        ValueError: if a topic is unknown, none is to be forgotten, or none is left.
    """
    world = make_world(seed=config.world_seed, quartets=config.quartets)
    splits = split_topics(world, config.forget)
    grammar = make_grammar(world)
    return Task(grammar, story_tokenizer(grammar, config.vocab_size), splits)


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
