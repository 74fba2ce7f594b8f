"""Sentence templates as rows of pieces, and what choosing among them costs.

A piece is a word with the space before it, or a mark of punctuation: what a byte-level tokenizer
never merges across. So a text's tokens are its pieces' tokens in a row.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PIECE = re.compile(r" ?[A-Za-z]+|[^\sA-Za-z]")
_PART = re.compile(r" ?\{\w+\}| ?[A-Za-z]+|[^\sA-Za-z{}]")


@dataclass(frozen=True)
class Template:
    """One template: its pieces, with slots in braces, and the relation it states."""

    pieces: tuple[str, ...]
    relation: str | None = None

    @property
    def slots(self) -> dict[str, int]:
        """The slots by name, and where they are."""
        return {p.strip()[1:-1]: i for i, p in enumerate(self.pieces) if p.endswith("}")}

    @property
    def symbols(self) -> tuple[str, ...]:
        """The pieces, with the value told apart by its relation."""
        return tuple(
            f"{{{self.relation}}}" if piece == " {value}" else piece for piece in self.pieces
        )


def parse(text: str, *, opens: bool, relation: str | None = None) -> Template:
    """Split a sentence into pieces; one that does not open the story begins with a space.

    Raises:
        ValueError: If a slot stands twice, or opens the story, or no full stop ends the sentence.
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
    """Return what each piece of each template tells about which template it is, in nats.

    Templates are equally likely, so a piece costs the log of how many the pieces before it left
    over how many it leaves. Slots count as symbols: their words are costed where they are drawn.
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
