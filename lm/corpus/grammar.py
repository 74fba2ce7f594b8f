"""The grammar of a world's stories: sentences in order, templates of each, words of each slot."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lm.corpus.templates import PIECE, Template, parse
from lm.corpus.world import World

END = "<|end|>"
"""The piece that ends a story."""
FACT_SLOTS = {"entity", "value"}
OPENING_SLOTS = {"name", "place"}
FRAME_SLOTS = {"name", "friend", "noun", "verb", "object", "feeling", "mood"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Grammar:
    """What a story of a world may be made of."""

    world: World
    before: tuple[tuple[Template, ...], ...]
    facts: tuple[Template, ...]
    held_out: tuple[Template, ...]
    after: tuple[tuple[Template, ...], ...]
    pieces: tuple[str, ...]
    """every piece of every story, the end first"""

    @cached_property
    def number(self) -> dict[str, int]:
        """The number of each piece."""
        return {piece: number for number, piece in enumerate(self.pieces)}

    def ids(self, words: Sequence[str]) -> NDArray[np.int32]:
        """Return the numbers of the pieces that words in slots are."""
        return np.array([self.number[f" {word}"] for word in words], np.int32)


def make_grammar(world: World) -> Grammar:
    """Parse a world's templates and number its pieces.

    Raises:
        ValueError: If stories would be ambiguous, so that their entropy could not be told: a word
            in two slots or in a slot and a template, sentences of one place with other slots, ...
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
    words = _slot_words(world)
    _check_words(words, literals)
    pieces = dict.fromkeys([END, *literals, f" {lexicon.anyone}", *(f" {word}" for word in words)])
    return Grammar(
        world=world,
        before=before,
        facts=stated,
        held_out=held_out,
        after=after,
        pieces=tuple(pieces),
    )


def _slot_words(world: World) -> list[str]:
    lexicon = world.lexicon
    families = dict.fromkeys(topic.family for topic in lexicon.topics.values())
    return [
        *lexicon.names,
        *lexicon.feelings,
        *lexicon.moods,
        *(noun for topic in lexicon.topics.values() for noun in topic.nouns),
        *(word for name in families for word in lexicon.families[name].verbs),
        *(word for name in families for word in lexicon.families[name].objects),
        *world.entities,
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
