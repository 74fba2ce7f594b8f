"""What a word of a story is for."""

from enum import IntEnum


class Kind(IntEnum):
    """The part a word plays: the frame, a topic's own noun, a family's word, or half a fact."""

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
"""The kind of a slot's word; other slots, and all words of templates, are the frame."""
