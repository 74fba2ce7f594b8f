"""A seeded world: nonce entities for every topic, and the facts that hold of them.

Facts come in quartets: four entities of a topic that differ in every relation, so that four
questions can share their choices and each choice is right once. Between quartets facts are
independent: no share of them tells about the rest. A quartet is wholly in one part: the two
halves, which stories state, or the held-out entities, which none does.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lm.corpus.lexicon import LEXICON, Lexicon

PARTS = ("first", "second", "held_out")
"""The halves of the stated facts, and the entities that no training story names."""
HALVES = PARTS[:2]
QUARTET = 4

_SOUNDS = (
    ("b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "t", "v", "z", "bl", "dr", "gr", "pl"),
    ("a", "e", "i", "o", "u"),
    ("l", "m", "n", "r"),
    ("b", "d", "g", "k", "p", "t", "v", "z"),
    ("a", "e", "i", "o", "u"),
    ("b", "f", "k", "v", "x", "z"),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class World:
    """Entities and their facts. Entities are numbered topic by topic, part by part, by quartet.

    A fact's number is its entity's times the number of relations, plus its relation's.
    """

    seed: int
    lexicon: Lexicon
    quartets: int
    """quartets of each topic's each part"""
    entities: tuple[str, ...]
    values: NDArray[np.int64]
    """[entities, relations]: which of the relation's values holds"""

    @property
    def topics(self) -> tuple[str, ...]:
        """The names of the topics."""
        return tuple(self.lexicon.topics)

    @property
    def relations(self) -> tuple[str, ...]:
        """The names of the relations."""
        return tuple(self.lexicon.relations)

    @property
    def num_facts(self) -> int:
        """The number of facts, held-out ones included."""
        return self.values.size

    def quartet_entities(self, topics: Sequence[str], parts: Sequence[str]) -> NDArray[np.int64]:
        """Return the entities of some topics' parts, [topics, quartets, 4].

        Raises:
            ValueError: If a topic or part is unknown, or none is given.
        """
        rows = indices("topic", topics, self.topics)
        columns = indices("part", parts, PARTS)
        shape = (len(self.topics), len(PARTS), self.quartets, QUARTET)
        every = np.arange(len(self.entities)).reshape(shape)
        return every[rows][:, columns].reshape(len(rows), -1, QUARTET)

    def facts_of(self, topics: Sequence[str], parts: Sequence[str] = HALVES) -> NDArray[np.int64]:
        """Return the numbers of the facts of some topics' parts, ascending.

        Raises:
            ValueError: If a topic or part is unknown, or none is given.
        """
        entities = np.sort(self.quartet_entities(topics, parts).ravel())
        relations = np.arange(len(self.relations))
        return (entities[:, None] * len(self.relations) + relations).ravel()

    @property
    def guess_nats(self) -> float:
        """The cost of guessing a fact's value, every one of its relation's equally likely."""
        return math.log(len(next(iter(self.lexicon.relations.values())).values))

    def value(self, fact: int) -> str:
        """Return the word that a fact's value is."""
        entity, relation = divmod(fact, len(self.relations))
        values = self.lexicon.relations[self.relations[relation]].values
        return values[int(self.values[entity, relation])]


def indices(what: str, names: Sequence[str], known: Sequence[str]) -> list[int]:
    """Return where names stand among the known ones.

    Raises:
        ValueError: If a name is unknown or given twice, or there is none.
    """
    if isinstance(names, str) or not names or len(set(names)) != len(names):
        raise ValueError(f"give a list of one or more different {what}s, got {names!r}")
    for name in names:
        if name not in known:
            raise ValueError(f"unknown {what} {name!r}; choose from {', '.join(known)}")
    return [list(known).index(name) for name in names]


def make_world(
    *,
    seed: int = 0,
    topics: Sequence[str] | None = None,
    quartets: int = 2,
    lexicon: Lexicon = LEXICON,
) -> World:
    """Draw a world: the same seed gives the same one.

    Args:
        seed: What names and facts are drawn from.
        topics: The topics to keep, all of the lexicon's by default.
        quartets: Quartets of entities in each topic's first half, second half and held-out part.
        lexicon: The words.

    Raises:
        ValueError: If a topic is unknown, or a number is out of range.
    """
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}")
    if quartets < 1:
        raise ValueError(f"quartets must be 1 or more, got {quartets}")
    if topics is not None:
        indices("topic", topics, tuple(lexicon.topics))
        lexicon = replace(lexicon, topics={topic: lexicon.topics[topic] for topic in topics})
    num_values = sorted({len(relation.values) for relation in lexicon.relations.values()})
    if len(num_values) != 1 or num_values[0] < QUARTET:
        raise ValueError(f"relations must have one number of values, 4 or more, got {num_values}")
    rng = np.random.default_rng(seed)
    count = len(lexicon.topics) * len(PARTS) * quartets
    columns = [
        rng.permuted(np.tile(np.arange(len(relation.values)), (count, 1)), axis=1)[:, :QUARTET]
        for relation in lexicon.relations.values()
    ]
    values = np.stack([column.ravel() for column in columns], axis=1)
    entities = _nonce_words(len(values), rng)
    return World(seed=seed, lexicon=lexicon, quartets=quartets, entities=entities, values=values)


def _nonce_words(count: int, rng: np.random.Generator) -> tuple[str, ...]:
    """Draw different words of two syllables that are no English, such as "drombev"."""
    shape = tuple(len(sounds) for sounds in _SOUNDS)
    total = math.prod(shape)
    if count > total:
        raise ValueError(f"there are {total} names for entities, not {count}; use fewer quartets")
    letters = np.unravel_index(rng.choice(total, size=count, replace=False), shape)
    columns = [np.array(of)[at] for of, at in zip(_SOUNDS, letters, strict=True)]
    return tuple("".join(word) for word in zip(*columns, strict=True))
