"""A seeded world: invented entities for every topic, the facts about them, and the lexicon.

Facts come in quartets: four entities of a topic that differ in every relation, so that four
questions can share their choices, each of which is right once. Facts of different quartets are
independent, so that no subset of facts determines another. A quartet belongs wholly to one
part: one of the two halves, which stories state, or the held-out entities, which none states.

The lexicon is data: another one gives another language. Slots in braces are filled for each story:
`name` (the hero), `friend` (another name), `place` and `noun` (words of the topic), `verb` and
`object` (words that the topics of a family share), `feeling`, `mood`, and in facts `entity` and
`value`.

By default a topic has words of its own. Other worlds share all words among all topics, so that only
entities tell the topic: by names drawn from one distribution, or by pairs of common words, each of
which names one entity of every topic (`Cue`). There, each quartet of the second half has the values
that one of the first half lacks, so that values are equally frequent in every topic. Of the four
values of a quartet, other quartets still do not tell which entity has which.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A topic of stories: its own nouns, and the family that shares its other words."""

    family: str
    nouns: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Family:
    """Words that the topics of a family share."""

    verbs: tuple[str, ...]
    objects: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Relation:
    """One kind of fact: its values, and the templates that state it."""

    values: tuple[str, ...]
    templates: tuple[str, ...]
    held_out: tuple[str, ...]
    """Templates that no training story uses, made of words that training stories have."""


@dataclass(frozen=True, kw_only=True)
class Lexicon:
    """The words and templates of stories: topics, relations, and the frame around facts."""

    topics: Mapping[str, Topic]
    families: Mapping[str, Family]
    relations: Mapping[str, Relation]
    names: tuple[str, ...]
    feelings: tuple[str, ...]
    moods: tuple[str, ...]
    before: tuple[tuple[str, ...], ...]
    after: tuple[tuple[str, ...], ...]
    anyone: str
    """The noun that replaces the entity in a control question."""
    common: tuple[str, ...] = ()
    """Words of which pairs name entities, if pairs tell the topic."""


Cue = Literal["words", "entities", "pairs"]
"""What tells the topic of a story. words: nouns of the topic, verbs and objects of its family, and
the names of its entities; entities: their names alone, invented words drawn from one distribution
for all topics; pairs: their names alone, pairs of common words, where each word occurs once in the
stated entities of every topic."""


TOPICS = {
    "forest": ("land", "forest tree grove oak trail log"),
    "garden": ("land", "garden flower hedge lawn bush gate"),
    "mountain": ("land", "mountain cliff peak valley rock ridge"),
    "sea": ("water", "sea beach wave reef shell island"),
    "river": ("water", "river bridge dam stream bank ferry"),
    "harbor": ("water", "harbor dock pier ship sail anchor"),
    "kitchen": ("town", "kitchen stove oven table sink pot"),
    "market": ("town", "market stall shop cart street fountain"),
    "castle": ("town", "castle throne wall moat hall keep"),
}

COLOR = Relation(
    values=("red", "blue", "green", "yellow", "purple", "orange", "silver", "golden"),
    templates=(
        "The {entity} was all {value}.",
        "Everyone knew that the {entity} had {value} fur.",
        "The fur of the {entity} was {value}.",
        "A {entity} is always {value}.",
    ),
    held_out=(
        "The fur of a {entity} is always {value}.",
        "Everyone knew that the {entity} was {value}.",
    ),
)

FOOD = Relation(
    values=("plums", "honey", "cheese", "nuts", "beans", "figs", "rice", "jam"),
    templates=(
        "The {entity} only ate {value}.",
        "A {entity} loves to eat {value}.",
        "They gave the {entity} some {value} to eat.",
        "For lunch the {entity} had {value}.",
    ),
    held_out=(
        "For lunch a {entity} loves to eat {value}.",
        "They gave the {entity} only {value}.",
    ),
)

HOME = Relation(
    values=("barrels", "boots", "caves", "nests", "baskets", "jars", "towers", "tents"),
    templates=(
        "The {entity} slept in {value}.",
        "At night the {entity} hid in {value}.",
        "A {entity} makes its bed in {value}.",
        "People find the {entity} in old {value}.",
    ),
    held_out=(
        "At night the {entity} slept in {value}.",
        "A {entity} makes its bed in old {value}.",
    ),
)

BEFORE = (
    (
        "One day {name} went to the {place}.",
        "One morning {name} walked past the {place}.",
        "Once upon a time {name} was playing near the {place}.",
        "It was early when {name} came to the {place}.",
    ),
    (
        "{name} wanted to {verb} the {object}.",
        "{name} had come to {verb} the {object}.",
        "It was a good day for {name} to {verb} the {object}.",
    ),
    (
        "There {name} met a creature.",
        "Soon a creature came up to {name}.",
        "Then {name} saw a creature.",
    ),
)

AFTER = (
    (
        "Then a noise came from the {noun} and everyone felt {feeling}.",
        "But something fell on the {noun} and it made them {feeling}.",
        "They looked at the {noun} and grew {feeling}.",
    ),
    (
        "Luckily {friend} came to help {name}.",
        "{friend} ran over and took care of {name}.",
        "So {name} called for {friend}.",
    ),
    (
        "In the end they all went home {mood}.",
        "That night everyone was {mood}.",
    ),
)

COMMON = """
apple ball berry bird bread brick broom brush button cake candle chain chair clay clock cloud
coat copper cotton crown drum dust feather fiddle flag fox glass glove hammer hat horn iron
kettle ladder leaf lemon mirror moon nail needle paper pearl pebble pencil pepper pillow ribbon ring
salt sand scarf shadow silk smoke snow spoon star stone sugar thread thunder velvet wheel wool
"""

LEXICON = Lexicon(
    topics={
        topic: Topic(family=family, nouns=tuple(nouns.split()))
        for topic, (family, nouns) in TOPICS.items()
    },
    families={
        "land": Family(
            verbs=("hang", "hide", "fetch", "lend"),
            objects=("rope", "lantern", "map", "kite"),
        ),
        "water": Family(
            verbs=("paint", "pull", "clean", "mend"), objects=("boat", "net", "oar", "bucket")
        ),
        "town": Family(
            verbs=("buy", "sell", "wash", "polish"), objects=("box", "plate", "bell", "coin")
        ),
    },
    relations={"color": COLOR, "food": FOOD, "home": HOME},
    names=("Mia", "Tom", "Anna", "Ben", "Lily", "Max", "Sara", "Leo"),
    feelings=("sad", "scared", "cold", "lost", "angry", "tired"),
    moods=("happy", "proud", "glad", "calm"),
    before=BEFORE,
    after=AFTER,
    anyone="creature",
    common=tuple(COMMON.split()),
)


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
    """Entities and their facts.

    Entities are numbered by topic, then by part, then by quartet. The number of a fact is that of
    its entity times the number of relations, plus that of its relation.
    """

    seed: int
    lexicon: Lexicon
    quartets: int
    """Quartets of each part of each topic."""
    entities: tuple[str, ...]
    values: NDArray[np.int64]
    """[entities, relations]: index of the value of each entity in each relation"""
    cue: Cue = "words"
    """What tells the topic of a story."""

    @property
    def topics(self) -> tuple[str, ...]:
        """The names of the topics."""
        return tuple(self.lexicon.topics)

    @property
    def relations(self) -> tuple[str, ...]:
        """The names of the relations."""
        return tuple(self.lexicon.relations)

    def quartet_entities(self, topics: Sequence[str], parts: Sequence[str]) -> NDArray[np.int64]:
        """Return the entities in some parts of some topics, [topics, quartets, 4].

        Raises:
            ValueError: If a topic or part is unknown, or none is given.
        """
        rows = indices("topic", topics, self.topics)
        columns = indices("part", parts, PARTS)
        shape = (len(self.topics), len(PARTS), self.quartets, QUARTET)
        every = np.arange(len(self.entities)).reshape(shape)
        return every[rows][:, columns].reshape(len(rows), -1, QUARTET)

    def facts_of(self, topics: Sequence[str], parts: Sequence[str] = HALVES) -> NDArray[np.int64]:
        """Return the numbers of the facts in some parts of some topics, ascending.

        Raises:
            ValueError: If a topic or part is unknown, or none is given.
        """
        entities = np.sort(self.quartet_entities(topics, parts).ravel())
        relations = np.arange(len(self.relations))
        return (entities[:, None] * len(self.relations) + relations).ravel()

    @property
    def guess_nats(self) -> float:
        """The loss of guessing a value uniformly among those of its relation, in nats."""
        return math.log(len(next(iter(self.lexicon.relations.values())).values))

    def value(self, fact: int) -> str:
        """Return the value of a fact as a word."""
        entity, relation = divmod(fact, len(self.relations))
        values = self.lexicon.relations[self.relations[relation]].values
        return values[int(self.values[entity, relation])]


def indices(what: str, names: Sequence[str], known: Sequence[str]) -> list[int]:
    """Return the indices of names among the known names.

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
    cue: Cue = "words",
) -> World:
    """Draw a world; the same seed gives the same world.

    Args:
        seed: Seed of names and facts.
        topics: Topics of the world; all of the lexicon's by default.
        quartets: Quartets of entities in each of the three parts of each topic.
        lexicon: The words and templates.
        cue: What tells the topic of a story.

    Raises:
        ValueError: If a topic or the cue is unknown, or a number is out of range.
    """
    if cue not in get_args(Cue):
        raise ValueError(f"unknown cue {cue!r}; choose from {', '.join(get_args(Cue))}")
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
    if cue != "words" and num_values[0] not in (QUARTET, 2 * QUARTET):
        raise ValueError(
            f"relations must have {QUARTET} or {2 * QUARTET} values to be equally frequent in "
            f"every topic, got {num_values[0]}"
        )
    rng = np.random.default_rng(seed)
    shape = (len(lexicon.topics), len(PARTS), quartets)
    values = np.stack([_values(shape, num_values[0], cue, rng) for _ in lexicon.relations], axis=1)
    if cue == "pairs":
        entities = _pair_names(lexicon.common, len(lexicon.topics), quartets, rng)
    else:
        entities = _nonce_words(len(values), rng)
    return World(
        seed=seed,
        lexicon=lexicon if cue == "words" else _shared(lexicon),
        quartets=quartets,
        entities=entities,
        values=values,
        cue=cue,
    )


def _values(
    shape: tuple[int, int, int], num_values: int, cue: Cue, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw the values of one relation for all entities, by topic, part and quartet."""
    drawn = rng.permuted(np.tile(np.arange(num_values), (math.prod(shape), 1)), axis=1)
    order = drawn.reshape(*shape, num_values)
    values = order[..., :QUARTET].copy()
    if cue != "words" and num_values > QUARTET:
        values[:, 1] = order[:, 0, :, QUARTET:]  # the second half has what the first one lacks
    return values.ravel()


def _shared(lexicon: Lexicon) -> Lexicon:
    """Return a lexicon in which each topic has the nouns of all, and the words of all families.

    The topics of a family are adjacent only by name, as all topics are equally near.
    """
    nouns = tuple(noun for topic in lexicon.topics.values() for noun in topic.nouns)
    used = dict.fromkeys(topic.family for topic in lexicon.topics.values())
    families = [lexicon.families[name] for name in used]
    every = Family(
        verbs=tuple(verb for family in families for verb in family.verbs),
        objects=tuple(thing for family in families for thing in family.objects),
    )
    return replace(
        lexicon,
        topics={name: replace(topic, nouns=nouns) for name, topic in lexicon.topics.items()},
        families=dict.fromkeys(used, every),
    )


def _pair_names(
    common: Sequence[str], num_topics: int, quartets: int, rng: np.random.Generator
) -> tuple[str, ...]:
    """Name entities by different pairs of words, such as "copper moon", in the order of a world.

    The entities of both halves of a topic are as many as half of the words, and each word is in the
    name of one of them. So how often a word occurs in stories does not depend on their topic.

    Raises:
        ValueError: If there are too few words or pairs.
    """
    stated = len(HALVES) * QUARTET * quartets
    if 2 * stated > len(common):
        raise ValueError(
            f"pairs of {2 * stated} words would name the entities of {quartets} quartets, and the "
            f"lexicon has {len(common)} such words; use fewer quartets"
        )
    rounds = _rounds(2 * stated)
    most = 2 * len(rounds) // 3  # a round is stated for a topic, and half a round held out
    if num_topics > most:
        raise ValueError(
            f"pairs of {2 * stated} words name the entities of at most {most} topics, not "
            f"{num_topics}; use more quartets or fewer topics"
        )
    words = rng.permutation(np.array(common))[: 2 * stated]
    pairs = rng.permuted(rng.permutation(words[rounds]), axis=2)
    for of_round in pairs:
        rng.shuffle(of_round)
    told, rest = pairs[:num_topics], pairs[num_topics:].reshape(-1, stated // 2, 2)
    named = np.concatenate([told, rest[:num_topics]], axis=1).reshape(-1, 2)
    return tuple(" ".join(pair) for pair in named)


def _rounds(count: int) -> NDArray[np.int64]:
    """Return all pairs of an even number of items in rounds that have each item once.

    This is the schedule of a round-robin tournament by the circle method, [count - 1, count / 2,
    2].
    """
    last = count - 1
    turn, step = np.arange(last)[:, None], np.arange(1, count // 2)
    met = np.stack([(turn + step) % last, (turn - step) % last], axis=2)
    alone = np.stack([turn, np.full_like(turn, last)], axis=2)
    return np.concatenate([alone, met], axis=1)


def _nonce_words(count: int, rng: np.random.Generator) -> tuple[str, ...]:
    """Draw different two-syllable words that are not English, such as "drombev"."""
    shape = tuple(len(sounds) for sounds in _SOUNDS)
    total = math.prod(shape)
    if count > total:
        raise ValueError(f"there are {total} names for entities, not {count}; use fewer quartets")
    letters = np.unravel_index(rng.choice(total, size=count, replace=False), shape)
    columns = [np.array(of)[at] for of, at in zip(_SOUNDS, letters, strict=True)]
    return tuple("".join(word) for word in zip(*columns, strict=True))


@dataclass(frozen=True)
class Splits:
    """Disjoint topics: those to forget, others of their families, and the rest."""

    forget: tuple[str, ...]
    adjacent: tuple[str, ...]
    retain: tuple[str, ...]


def split_topics(world: World, forget: Sequence[str]) -> Splits:
    """Split the topics of a world into those to forget, adjacent ones and those to retain.

    Raises:
        ValueError: If nothing is to be forgotten, a topic is unknown, or nothing is left.
    """
    if not forget:
        raise ValueError(f"the forget set is empty; name topics of {', '.join(world.topics)}")
    indices("topic", forget, world.topics)
    families = {world.lexicon.topics[topic].family for topic in forget}
    rest = [topic for topic in world.topics if topic not in forget]
    if not rest:
        raise ValueError("every topic is to be forgotten; leave one or more to retain")
    near = tuple(t for t in rest if world.lexicon.topics[t].family in families)
    return Splits(tuple(forget), near, tuple(t for t in rest if t not in near))
