"""What a page is made of: sections of drawings, tables and pictures."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from oversight.reporting.figures.drawing import Drawing
from oversight.reporting.table import Table


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A picture that a run left behind.

    Attributes:
        title: what it shows.
        caption: which run it is of.
        png: its bytes.
    """

    title: str
    caption: str
    png: bytes

    @property
    def source(self) -> str:
        """The picture as an address that holds it."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


Block = Drawing | Table | Picture


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A part of the page.

    Attributes:
        anchor: its address on the page.
        title: its heading.
        lead: a sentence before all else, or none.
        blocks: shown one after the other.
        folded: tables that a reader opens to see.
    """

    anchor: str
    title: str
    lead: str = ""
    blocks: Sequence[Block] = ()
    folded: Sequence[Table] = ()

    @property
    def drawings(self) -> list[Drawing]:
        """The figures to save."""
        return [block for block in self.blocks if isinstance(block, Drawing)]

    @property
    def tables(self) -> list[Table]:
        """The tables to save."""
        return [*(block for block in self.blocks if isinstance(block, Table)), *self.folded]
