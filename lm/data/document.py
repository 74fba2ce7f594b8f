"""Documents with their records, and the tokenizer that encodes them."""

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
"""Where a record was read, for error messages, and the record."""


class Document(NamedTuple):
    """A text, and the record that it came in."""

    number: int
    """Index of the record in the source."""
    text: str
    fields: Mapping[str, Any]
    """All fields of the record."""


def documents_of(records: Iterator[Located], field: str, first: int) -> Iterator[Document]:
    """Yield the documents of records, numbered from `first`; records with blank text are skipped.

    Raises:
        ValueError: if a record lacks the field, or has something other than text in it.
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
    """Identifies a tokenizer."""

    checksum: str
    """Checksum of the tokens and their ids."""
    size: int
    """Largest id plus 1."""
    end: int
    """Id of the token that ends a document."""


def vocabulary(tokenizer: "PreTrainedTokenizerBase") -> Vocabulary:
    """Return what identifies a tokenizer.

    Raises:
        ValueError: if it has no end-of-text token.
    """
    tokens = tokenizer.get_vocab()
    if tokenizer.eos_token_id is None:
        raise ValueError(
            "the tokenizer has no end-of-text token, which separates documents: set its eos_token"
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
    """Return the tokens of each text followed by the end, truncated to the context.

    A special token that is spelled out in a text, such as the end, is encoded as plain characters.
    """
    encoded = tokenizer(
        list(texts),
        add_special_tokens=False,
        split_special_tokens=True,
        return_attention_mask=False,
        verbose=False,
    )
    return [np.array([*ids, end], np.int64)[:context] for ids in encoded["input_ids"]]
