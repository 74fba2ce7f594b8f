"""A document: its text, and the record that it came in.

The tokenizer of prepared data: loaded, told from others, and texts as its tokens.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


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


Ids = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Vocabulary:
    """What tells a tokenizer from others."""

    checksum: str
    """of its tokens and their ids"""
    size: int
    """the largest id, and one"""
    end: int
    """the token that ends a document"""


def vocabulary(tokenizer: "PreTrainedTokenizerBase") -> Vocabulary:
    """Return what tells a tokenizer from others.

    Raises:
        ValueError: if it has no token that ends a text.
    """
    tokens = tokenizer.get_vocab()
    if tokenizer.eos_token_id is None:
        raise ValueError(
            "the tokenizer has no end-of-text token, which parts documents: set its eos_token"
        )
    data = json.dumps(sorted(tokens.items())).encode()
    return Vocabulary(
        checksum=hashlib.sha256(data).hexdigest(),
        size=max(tokens.values()) + 1,
        end=int(tokenizer.eos_token_id),
    )


def tokens_of(
    tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], end: int, context: int | None
) -> list[Ids]:
    """Return the tokens of each text and the end after them, cut at the context.

    A text that spells a special token, such as the end, gets the tokens of its characters.
    """
    encoded = tokenizer(
        list(texts),
        add_special_tokens=False,
        split_special_tokens=True,
        return_attention_mask=False,
        verbose=False,
    )
    return [np.array([*ids, end], np.int64)[:context] for ids in encoded["input_ids"]]
