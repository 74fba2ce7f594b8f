"""The stories to unlearn: a world, the topics to forget, and stories as rows of tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from lm.corpus import (
    Cue,
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
from oversight.runs.settings import require_numbers

CONTEXT = 96
"""Maximum tokens of a story, its end included, with the tokenizer that is trained on stories."""
FOREIGN_CONTEXT = 192
"""The same with the tokenizer of another model, which splits invented names into more tokens."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskConfig:
    """The world, and the topics to forget.

    Raises:
        ValueError: if a number is out of its range.
    """

    forget: Annotated[tuple[str, ...], tyro.conf.arg(name="forget-topics", prefix_name=False)] = (
        "forest",
    )
    """Topics to forget."""
    quartets: int = 1
    """Quartets of entities in each half of each topic; each entity has three facts."""
    stories: int = 12_800
    """Number of training stories; their topics are drawn uniformly."""
    vocab_size: int = 1024
    """Maximum size of the vocabulary."""
    world_seed: int = 0
    """Seed of the names and facts."""
    topic_cue: Cue = "words"
    """What tells the topic of a story. words: each topic has nouns of its own; entities: topics
    share all words, and only invented names of entities tell them; pairs: names are pairs of common
    words, each of which occurs equally often in every topic."""

    def __post_init__(self) -> None:
        require_numbers(self, "stories", least=1)


@dataclass(frozen=True, eq=False)
class StoryRows:
    """Stories as rows of tokens, one per row, so that no story attends to another.

    Shapes: n stories, t targets.
    """

    tokens: Tensor
    """[n, t + 1] int16, or int32 for a large vocabulary: a start token, the story with its end,
    then `IGNORED`"""
    kinds: Tensor
    """[n, t] int16: the `Kind` of the word of each target, -1 after the story"""
    facts: Tensor
    """[n, t] int32: the fact that each target states, -1 if none"""
    topics: Tensor
    """[n] int64: index into the topics of the world"""

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def inputs(self) -> Tensor:
        """The input tokens, [n, t] int64, padded with end tokens."""
        return self.tokens[:, :-1].clamp(min=0).long()

    @property
    def targets(self) -> Tensor:
        """The tokens to predict, [n, t] int64, padded with `IGNORED`."""
        return self.tokens[:, 1:].long()

    @property
    def digest(self) -> str:
        """Content hash of the stories."""
        return checksum(self.tokens, self.kinds, self.facts, self.topics)

    @property
    def first_facts(self) -> Tensor:
        """The fact that each story states first, [n] int32, -1 if it states none.

        It identifies an entity and a topic.
        """
        first = (self.facts >= 0).int().argmax(1)
        return self.facts[torch.arange(len(self)), first]

    def take(self, chosen: Tensor) -> "StoryRows":
        """Return some of the rows, by index or by mask."""
        return StoryRows(
            *(part[chosen] for part in (self.tokens, self.kinds, self.facts, self.topics))
        )

    def read(self) -> "StoryRows":
        """Return the rows themselves, which are in memory."""
        return self


def joined(several: Sequence[StoryRows]) -> StoryRows:
    """Return rows of the same task one after another."""
    names = ("tokens", "kinds", "facts", "topics")
    return StoryRows(*(torch.cat([getattr(rows, name) for rows in several]) for name in names))


class Texts(Protocol):
    """Texts of which only the topics are in memory; `StoryRows` are texts, too."""

    @property
    def topics(self) -> Tensor:
        """The topic of each text, [n] int64."""

    @property
    def digest(self) -> str:
        """Content hash of the texts."""

    def __len__(self) -> int:
        """Return the number of texts."""

    def take(self, chosen: Tensor) -> "Texts":
        """Return some of the texts, by index or by mask, without reading them."""

    def read(self) -> StoryRows:
        """Read all texts into memory."""


@dataclass(frozen=True, eq=False)
class Task:
    """The grammar of a world, a tokenizer, and the topics to forget, adjacent ones and the rest."""

    grammar: Grammar
    tokenizer: Tokenizer
    splits: Splits
    end: int = 0
    """The token that ends a story."""
    context: int = CONTEXT
    """Maximum tokens of a story, its end included."""
    start: int = 0
    """The token before a story."""

    @property
    def vocab_size(self) -> int:
        """Size of the vocabulary."""
        return int(self.tokenizer.get_vocab_size())

    @property
    def facts_per_entity(self) -> int:
        """Number of facts about each entity, which are numbered one after another."""
        return len(self.grammar.world.relations)

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, without special tokens."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def sample(
        self, count: int, seed: Sequence[int], distribution: StoryDistribution | None = None
    ) -> StoryRows:
        """Sample stories, the same for the same seed.

        Raises:
            ValueError: if the distribution is impossible, or a story is longer than the context.
        """
        stories = sample_stories(
            self.grammar, count, np.random.default_rng(list(seed)), distribution
        )
        encoded = encode(stories, self.tokenizer, self.end)
        lengths = np.diff(encoded.starts)
        if lengths.max() > self.context:
            raise ValueError(
                f"a story has {lengths.max()} tokens, and there is room for {self.context}: give a "
                "larger vocabulary, or a model that has one, or fewer facts in a story"
            )
        rows = np.repeat(np.arange(count), lengths)
        columns = np.arange(len(encoded)) - np.repeat(encoded.starts[:-1], lengths)
        shape, dtype = (count, self.context), _signed(self.vocab_size)
        tokens = _scatter(encoded.ids, (rows, columns + 1), (count, shape[1] + 1), IGNORED, dtype)
        tokens[:, 0] = self.start
        return StoryRows(
            torch.from_numpy(tokens),
            torch.from_numpy(_scatter(encoded.kinds, (rows, columns), shape, -1, np.int16)),
            torch.from_numpy(_scatter(encoded.facts, (rows, columns), shape, -1, np.int32)),
            torch.from_numpy(encoded.topics.astype(np.int64)),
        )

    def to_forget(self, topics: Tensor) -> Tensor:
        """Return which stories, given by their topics, are to be forgotten."""
        return self.forget_numbers(topics) >= 0

    def forget_numbers(self, topics: Tensor) -> Tensor:
        """Return the place of each story's topic among those to forget, [n]; -1 for others."""
        names = self.grammar.world.topics
        places = torch.full((len(names),), -1)
        for place, topic in enumerate(self.splits.forget):
            places[names.index(topic)] = place
        return places[topics]


def make_task(
    config: TaskConfig, tokenizer: Tokenizer | None = None, end: int = 0, start: int | None = None
) -> Task:
    """Return the task of a config, with the tokenizer of another model if one is given.

    By default a tokenizer is trained on stories, which takes a second.

    Args:
        config: the world, and the topics to forget.
        tokenizer: the tokenizer of another model.
        end: its token that ends a text.
        start: its token before a text; by default the one that ends it.

    Raises:
        ValueError: if a topic is unknown, none is to be forgotten, or none is left.
    """
    world = make_world(seed=config.world_seed, quartets=config.quartets, cue=config.topic_cue)
    splits = split_topics(world, config.forget)
    grammar = make_grammar(world)
    if tokenizer is not None:
        before = end if start is None else start
        return Task(grammar, tokenizer, splits, end, FOREIGN_CONTEXT, before)
    return Task(grammar, story_tokenizer(grammar, config.vocab_size), splits)


def _signed(vocab_size: int) -> type[np.signedinteger]:
    """Return the smaller of two dtypes that holds every token and `IGNORED`."""
    return np.int16 if vocab_size <= np.iinfo(np.int16).max + 1 else np.int32


def _scatter(
    values: NDArray[np.generic],
    places: tuple[NDArray[np.int64], NDArray[np.int64]],
    shape: tuple[int, int],
    empty: int,
    dtype: type[np.signedinteger],
) -> NDArray[np.signedinteger]:
    """Return a table with values at some places and `empty` elsewhere."""
    table = np.full(shape, empty, dtype)
    table[places] = values
    return table
