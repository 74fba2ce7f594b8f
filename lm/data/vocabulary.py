"""The tokenizer of prepared data: loaded, told from others, and texts as its tokens."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

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
