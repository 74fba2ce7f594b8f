"""A document: its text, and the record that it came in."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Located = tuple[str, Mapping[str, Any]]
"""A record, and the words that say where it was read."""


class Document(NamedTuple):
    """A text of a source."""

    number: int
    """the place of its record in the source, from 0 on"""
    text: str
    fields: Mapping[str, Any]
    """all of its record"""


def documents_of(records: Iterator[Located], field: str, first: int) -> Iterator[Document]:
    """Yield the documents of records, numbered from the first; those without text are left out.

    Raises:
        ValueError: if a record has no such field, or something else than text in it.
    """
    for number, (where, record) in enumerate(records, first):
        text = record.get(field)
        if not isinstance(text, str):
            names = ", ".join(map(str, record)) or "nothing"
            raise ValueError(
                f"{where} has no text in a field {field!r}, only {names}: name the field by "
                "--text-field"
            )
        if text.strip():
            yield Document(number, text, record)
