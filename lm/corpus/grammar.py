"""The grammar of a world's stories: sentence templates, kinds of words, and what each choice costs.

A story is a row of sentences: the opening and the rest of the frame before the facts, the facts,
and the frame after them. Each sentence is drawn from several templates, each slot of a template
from several words. So the probability of every word is known, and with it the entropy of stories.

A piece is a word with the space before it, the name of an entity with its spaces, which may be two
words, or a punctuation mark. A byte-level tokenizer that splits at words never merges tokens across
pieces, so that a text's tokens are the tokens of its pieces one after another.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lm.corpus.world import HALVES, QUARTET, World

PIECE = re.compile(r" ?[A-Za-z]+|[^\sA-Za-z]")
_PART = re.compile(r" ?\{\w+\}| ?[A-Za-z]+|[^\sA-Za-z{}]")


@dataclass(frozen=True)
class Template:
    """A sentence template: its pieces, with slots in braces, and the relation that it states."""

    pieces: tuple[str, ...]
    relation: str | None = None

    @property
    def slots(self) -> dict[str, int]:
        """The position of each slot among the pieces, by name."""
        return {p.strip()[1:-1]: i for i, p in enumerate(self.pieces) if p.endswith("}")}

    @property
    def symbols(self) -> tuple[str, ...]:
        """The pieces, where the slot of the value is named by its relation."""
        return tuple(
            f"{{{self.relation}}}" if piece == " {value}" else piece for piece in self.pieces
        )


def parse(text: str, *, opens: bool, relation: str | None = None) -> Template:
    """Split a sentence into a template's pieces.

    A sentence that does not open the story begins with a space.

    Raises:
        ValueError: If a slot is repeated or opens the story, or no full stop ends the sentence.
    """
    pieces = tuple(_PART.findall(text if opens else f" {text}"))
    template = Template(pieces, relation)
    if len(template.slots) != sum(piece.endswith("}") for piece in pieces):
        raise ValueError(f"a template may hold each slot once, got {text!r}; say it otherwise")
    if pieces.count(".") != 1 or pieces[-1] != ".":
        raise ValueError(f"a template must end in its one full stop, got {text!r}")
    if opens and pieces[0].startswith("{"):
        raise ValueError(f"a story must not open with a slot, got {text!r}; put a word before it")
    return template


def choice_nats(templates: Sequence[Template]) -> list[NDArray[np.float64]]:
    """Return the surprisal, in nats, of each piece of each template about the choice of template.

    Templates are equally likely. So a piece costs log(n / m), where n templates agree with the
    pieces before it and m of them with the piece as well. Slots count as symbols here; the cost of
    their words is added where the words are drawn.
    """
    left = Counter(t.symbols[:end] for t in templates for end in range(len(t.symbols) + 1))
    return [
        np.array(
            [
                math.log(left[t.symbols[:end]] / left[t.symbols[: end + 1]])
                for end in range(len(t.symbols))
            ]
        )
        for t in templates
    ]


END = "<|end|>"
"""The piece that ends a story."""
FACT_SLOTS = {"entity", "value"}
OPENING_SLOTS = {"name", "place"}
FRAME_SLOTS = {"name", "friend", "noun", "verb", "object", "feeling", "mood"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Grammar:
    """The parsed templates of a world, and its numbered pieces."""

    world: World
    before: tuple[tuple[Template, ...], ...]
    facts: tuple[Template, ...]
    held_out: tuple[Template, ...]
    after: tuple[tuple[Template, ...], ...]
    pieces: tuple[str, ...]
    """All pieces that a story may have; the end is the first."""

    @cached_property
    def number(self) -> dict[str, int]:
        """The number of each piece, by its text."""
        return {piece: number for number, piece in enumerate(self.pieces)}

    def ids(self, words: Sequence[str]) -> NDArray[np.int32]:
        """Return the numbers of the pieces that words become in slots."""
        return np.array([self.number[f" {word}"] for word in words], np.int32)

    def kind(self, slot: str) -> "Kind":
        """Return the kind of the words in a slot; nouns are of a topic only if they tell it."""
        kind = OF_SLOT.get(slot, Kind.FRAME)
        return Kind.SHARED if kind == Kind.NOUN and self.world.cue != "words" else kind


def make_grammar(world: World) -> Grammar:
    """Parse a world's templates and number its pieces.

    Raises:
        ValueError: If a text could be derived in two ways, so that its entropy is unknown: a word
            occurs in two slots or in a slot and a template, or the templates of one sentence
            have different slots.
    """
    lexicon = world.lexicon
    before = tuple(
        tuple(parse(text, opens=i == 0) for text in group) for i, group in enumerate(lexicon.before)
    )
    after = tuple(tuple(parse(text, opens=False) for text in group) for group in lexicon.after)
    stated, held_out = (
        tuple(
            parse(text, opens=False, relation=name)
            for name, relation in lexicon.relations.items()
            for text in getattr(relation, field)
        )
        for field in ("templates", "held_out")
    )
    frame = [*before, *after]
    _check_slots(frame, [stated, held_out])
    literals = [
        piece
        for group in [*frame, stated, held_out]
        for template in group
        for piece in template.pieces
        if not piece.endswith("}")
    ]
    parts = dict.fromkeys(part for name in world.entities for part in name.split())
    _check_words(_slot_words(world, tuple(parts)), literals)
    words = _slot_words(world, world.entities)
    pieces = dict.fromkeys([END, *literals, f" {lexicon.anyone}", *(f" {word}" for word in words)])
    return Grammar(
        world=world,
        before=before,
        facts=stated,
        held_out=held_out,
        after=after,
        pieces=tuple(pieces),
    )


def _slot_words(world: World, entities: Sequence[str]) -> list[str]:
    """Return the words of all slots, where `entities` are those of the entities."""
    lexicon = world.lexicon
    topics = list(lexicon.topics.values())
    if world.cue != "words":  # all topics have the same words
        topics = topics[:1]
    families = dict.fromkeys(topic.family for topic in topics)
    return [
        *lexicon.names,
        *lexicon.feelings,
        *lexicon.moods,
        *(noun for topic in topics for noun in topic.nouns),
        *(word for name in families for word in lexicon.families[name].verbs),
        *(word for name in families for word in lexicon.families[name].objects),
        *entities,
        *(value for relation in lexicon.relations.values() for value in relation.values),
    ]


def _check_words(words: Sequence[str], literals: Sequence[str]) -> None:
    fixed = {piece.strip() for piece in literals}
    seen: set[str] = set()
    for word in words:
        if word in seen or word in fixed or not PIECE.fullmatch(word):
            raise ValueError(
                f"{word!r} must be one word of ASCII letters, in one slot and in no template; "
                "choose another"
            )
        seen.add(word)


def _check_slots(frame: Sequence[Sequence[Template]], facts: Sequence[Sequence[Template]]) -> None:
    for group in [*frame, *facts]:
        if len({frozenset(template.slots) for template in group}) != 1:
            raise ValueError(
                "templates of one place in the story must have the same slots, "
                f"got {[''.join(template.pieces) for template in group]}"
            )
    if set(frame[0][0].slots) != OPENING_SLOTS:
        raise ValueError("the opening must hold {name} and {place}, from which the topic is known")
    for group in frame[1:]:
        if not set(group[0].slots) <= FRAME_SLOTS:
            raise ValueError(
                f"a sentence of the frame may hold {sorted(FRAME_SLOTS)}, "
                f"got {''.join(group[0].pieces)!r}"
            )
    for template in (template for group in facts for template in group):
        slots = template.slots
        if set(slots) != FACT_SLOTS or slots["entity"] > slots["value"]:
            raise ValueError(
                f"a fact names its entity, then its value, got {''.join(template.pieces)!r}"
            )


class Kind(IntEnum):
    """The kind of a word: frame, noun of a topic, word that topics share, entity or value."""

    FRAME = 0
    NOUN = 1
    SHARED = 2
    ENTITY = 3
    VALUE = 4


OF_SLOT = {
    "place": Kind.NOUN,
    "noun": Kind.NOUN,
    "verb": Kind.SHARED,
    "object": Kind.SHARED,
    "entity": Kind.ENTITY,
    "value": Kind.VALUE,
}
"""The kind of the words in a slot; other slots, and the words of templates, are of the frame."""


@dataclass(frozen=True, kw_only=True)
class StoryDistribution:
    """A distribution over stories. The default is that of training."""

    topics: tuple[str, ...] | None = None
    """Topics of the stories, equally likely; all of the world's by default."""
    parts: tuple[str, ...] = HALVES
    """Which facts are stated: those of the halves `first` and `second`, or of the `held_out`
    entities, which no training story names."""
    templates: Literal["training", "held_out"] = "training"
    """Which templates state the facts."""
    facts_per_story: int = 2
    """Facts per story, each of an entity of another quartet."""

    def topic_names(self, world: World) -> tuple[str, ...]:
        """Return the topics of the stories."""
        return world.topics if self.topics is None else self.topics

    def fact_templates(self, grammar: Grammar) -> tuple[Template, ...]:
        """Return the templates that state the facts.

        Raises:
            ValueError: If there is no such set of templates.
        """
        if self.templates not in ("training", "held_out"):
            raise ValueError(f"templates must be training or held_out, got {self.templates!r}")
        return grammar.facts if self.templates == "training" else grammar.held_out

    def entities(self, world: World) -> NDArray[np.int64]:
        """Return the entities that stories may name, [topics, quartets, 4].

        Raises:
            ValueError: If a topic or part is unknown, or has too few quartets for a story.
        """
        entities = world.quartet_entities(self.topic_names(world), self.parts)
        if not 1 <= self.facts_per_story <= entities.shape[1]:
            raise ValueError(
                f"facts_per_story must be from 1 to {entities.shape[1]}, the quartets of "
                f"{' and '.join(self.parts)}, got {self.facts_per_story}"
            )
        return entities


def slot_words(grammar: Grammar, topic: str) -> Mapping[str, tuple[str, ...]]:
    """Return the words that a story of a topic draws from uniformly, by slot of the frame."""
    lexicon = grammar.world.lexicon
    family = lexicon.families[lexicon.topics[topic].family]
    return {
        "name": lexicon.names,
        "place": lexicon.topics[topic].nouns,
        "noun": lexicon.topics[topic].nouns,
        "verb": family.verbs,
        "object": family.objects,
        "feeling": lexicon.feelings,
        "mood": lexicon.moods,
    }


def slot_nats(
    grammar: Grammar, distribution: StoryDistribution
) -> Mapping[str, NDArray[np.float64]]:
    """Return the surprisal of the first word in each slot, in nats, [topics] for each slot.

    The word in the slot `place` also pays for the topic, if words reveal it. The friend is drawn
    from one name less than the hero.
    """
    topics = distribution.topic_names(grammar.world)
    counts = [{s: len(words) for s, words in slot_words(grammar, t).items()} for t in topics]
    nats = {slot: np.log([count[slot] for count in counts]) for slot in counts[0]}
    nats["friend"] = np.log([count["name"] - 1 for count in counts])
    if grammar.world.cue == "words":
        nats["place"] = nats["place"] - np.log(1 / len(topics))
    return nats


def entity_nats(grammar: Grammar, distribution: StoryDistribution, already_named: int) -> float:
    """Return the surprisal of the next entity of a story, in nats.

    The first one also pays for the topic, unless words have revealed it before.
    """
    num_topics, num_quartets, _ = distribution.entities(grammar.world).shape
    revealed = already_named > 0 or grammar.world.cue == "words"
    choices = QUARTET * (num_quartets - already_named)
    return float(np.log(choices if revealed else choices * num_topics))
