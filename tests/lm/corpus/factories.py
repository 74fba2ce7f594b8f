"""Small worlds for the tests of GrammarStories."""

from dataclasses import replace

from lm.corpus.grammar import Grammar, make_grammar
from lm.corpus.world import Cue, Family, Lexicon, Relation, Topic, make_world

TINY = Lexicon(
    topics={
        "wood": Topic(family="land", nouns=("tree", "moss")),
        "hill": Topic(family="land", nouns=("rock",)),
        "lake": Topic(family="water", nouns=("wave", "foam")),
    },
    families={
        "land": Family(verbs=("dig", "sow"), objects=("seed",)),
        "water": Family(verbs=("swim",), objects=("fish", "raft")),
    },
    relations={
        "color": Relation(
            values=("red", "blue", "pink", "gray"),
            templates=("The {entity} was {value}.", "The {entity} had {value} fur."),
            held_out=("All say the {entity} was {value}.",),
        ),
        "food": Relation(
            values=("figs", "nuts", "rice", "corn"),
            templates=("The {entity} was fond of {value}.",),
            held_out=("All say the {entity} had {value}.", "Of {entity} and {value}."),
        ),
    },
    names=("Ann", "Bob", "Cid"),
    feelings=("sad", "shy"),
    moods=("glad", "calm"),
    before=(
        ("One day {name} saw a {place}.", "One day at a {place} came {name}."),
        ("{name} let {friend} {verb} the {object}.", "There {friend} and {name} {verb} {object}."),
    ),
    after=(("The {noun} made {friend} {feeling}.", "{friend} was {feeling} at the {noun}."),),
    anyone="thing",
    common=(
        *("pea", "oat", "rye", "ink", "pin", "cup", "jug", "hat"),
        *("box", "key", "bow", "toy", "web", "ash", "ice", "sky"),
    ),
)

MINI = replace(
    TINY,
    topics={"wood": TINY.topics["hill"], "lake": Topic(family="water", nouns=("wave",))},
    families={
        "land": Family(verbs=("dig",), objects=("seed",)),
        "water": Family(verbs=("swim",), objects=("raft",)),
    },
    relations={
        "color": replace(TINY.relations["color"], templates=("The {entity} was {value}.",)),
        "food": TINY.relations["food"],
    },
    names=("Ann", "Bob"),
    feelings=("sad",),
)
"""A lexicon of two topics whose stories are few enough to enumerate where topics share words."""


def tiny(**changes: object) -> Grammar:
    """Return the grammar of a world with a dozen words."""
    return make_grammar(make_world(seed=3, quartets=1, lexicon=replace(TINY, **changes)))  # type: ignore[arg-type]


def full(seed: int = 0, cue: Cue = "words") -> Grammar:
    """Return the grammar of the default world."""
    return make_grammar(make_world(seed=seed, cue=cue))
