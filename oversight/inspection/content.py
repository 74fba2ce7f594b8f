"""What an inspection says: sections of figures, tables, pictures and texts."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.table import Table as RichTable

from oversight.inspection.route_map import RouteMap
from oversight.runs.console import plain_table
from oversight.runs.figures import Drawing


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table of cells, as text.

    Attributes:
        title: what it shows.
        caption: how to read it.
        names: heading of the names of the rows.
        columns: headings of the other columns.
        rows: the cells of each row by its name.
    """

    kind: ClassVar[str] = "table"
    title: str
    caption: str
    names: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[str]]

    def on_terminal(self) -> RichTable:
        """Return the table for a terminal."""
        table = plain_table(self.title, self.names, self.columns)
        for name, cells in self.rows.items():
            table.add_row(name, *cells)
        table.caption = self.caption
        return table


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """An image with its caption.

    Attributes:
        name: name of its file, without suffix.
        title: what it shows.
        caption: how to read it.
        alt: its content in words.
        png: the bytes of the file.
    """

    kind: ClassVar[str] = "picture"
    name: str
    title: str
    caption: str
    alt: str
    png: bytes

    @property
    def encoded(self) -> str:
        """The bytes in base64."""
        return base64.b64encode(self.png).decode()


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokens:
    """Tokens with a number each, the largest first.

    Attributes:
        title: what the numbers are.
        tokens: texts of tokens and their numbers.
    """

    kind: ClassVar[str] = "tokens"
    title: str
    tokens: Sequence[tuple[str, float]]

    @property
    def largest(self) -> float:
        """The largest absolute number; 1 if all are 0."""
        return max((abs(value) for _, value in self.tokens), default=0.0) or 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """A text whose tokens are shaded by a number each.

    Attributes:
        title: the line above the text.
        pieces: texts of tokens and their numbers; together they are the text.
        most: the number of full shade.
    """

    kind: ClassVar[str] = "passage"
    title: str
    pieces: Sequence[tuple[str, float]]
    most: float

    def shade(self, value: float) -> float:
        """Return how strong a shade is, from 0 to 100; negative for numbers below zero."""
        if not self.most:
            return 0.0
        return round(max(-1.0, min(1.0, value / self.most)) * 100, 1)


Block = Drawing | Table | Picture | Tokens | Passage


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A part of the page.

    Attributes:
        anchor: its address on the page.
        title: its heading.
        lead: is shown before all else.
        blocks: figures, tables, pictures and texts.
    """

    anchor: str
    title: str
    lead: str = ""
    blocks: Sequence[Block] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """What each module of a run learned.

    Attributes:
        subject: the run in words.
        title: the heading of the page.
        findings: the effect of each ablation, a sentence each.
        route_map: the routes and the modules that they teach.
        sections: all else.
        repeat: the command that makes the inspection.
        about: what is to be known of the run, by its name, such as its commit.
        data: all numbers, as plain data.
    """

    subject: str
    title: str
    findings: Sequence[str]
    route_map: RouteMap
    sections: Sequence[Section]
    repeat: str
    about: Mapping[str, str]
    data: Mapping[str, Any]

    @property
    def blocks(self) -> list[Block]:
        """The blocks of all sections."""
        return [block for section in self.sections for block in section.blocks]
