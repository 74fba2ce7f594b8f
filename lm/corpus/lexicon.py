"""The words and sentence templates that stories are made of.

A lexicon is data: another one gives another language. Slots in braces stand for words drawn per
story: `name` (the hero), `friend` (another name), `place` and `noun` (words of the topic), `verb`
and `object` (words its family shares), `feeling`, `mood`, and in facts `entity` and `value`.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Topic:
    """What stories are about: words of its own, and a family that shares the rest."""

    family: str
    nouns: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Family:
    """Words that adjacent topics share."""

    verbs: tuple[str, ...]
    objects: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Relation:
    """One kind of fact: its values, and the templates that state it."""

    values: tuple[str, ...]
    templates: tuple[str, ...]
    held_out: tuple[str, ...]
    """templates that no training story uses, of words that some do"""


@dataclass(frozen=True, kw_only=True)
class Lexicon:
    """Topics, relations, and the frame: the sentences before and after the facts."""

    topics: Mapping[str, Topic]
    families: Mapping[str, Family]
    relations: Mapping[str, Relation]
    names: tuple[str, ...]
    feelings: tuple[str, ...]
    moods: tuple[str, ...]
    before: tuple[tuple[str, ...], ...]
    after: tuple[tuple[str, ...], ...]
    anyone: str
    """the noun that stands for an entity in a control question"""


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
)
