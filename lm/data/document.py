"""Documents with their records, and the tokenizer that encodes them."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple
from unicodedata import category

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Located(NamedTuple):
    """A record, and where it was read."""

    where: str
    """The place of the record, for error messages."""
    record: Mapping[str, Any]
    origin: str = ""
    """Kind of the source, and how it was divided, for the summary."""
    file: str = ""
    """The file that holds the record, if any."""


class Document(NamedTuple):
    """A text, and the record that it came in."""

    number: int
    """Index of the record in the source."""
    text: str
    fields: Mapping[str, Any]
    """All fields of the record."""
    origin: str = ""
    """Kind of the source, and how it was divided, for the summary."""
    messages: str | None = None
    """What the messages of a conversation say, without the chat template that made the text of
    them; None if the record has the text itself."""


@cache
def invisible() -> re.Pattern[str]:
    """Return the pattern of runs of zero-width characters, which Unicode lets a reader ignore.

    They are those of the property Default_Ignorable_Code_Point: joiners, soft hyphens, byte-order
    marks, signs of direction, selectors of variants and the like.
    """
    ranges = (
        "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
        "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
        "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    )
    return re.compile(f"[{ranges}]+")


SURROGATE = re.compile("[\ud800-\udfff]")
"""Halves of surrogate pairs, which are no characters, but which JSON can spell."""


def require_characters(text: str, where: str, part: str) -> None:
    """Raise a ValueError if a text has half of a surrogate pair.

    Args:
        text: the text.
        where: the place of its record, for errors.
        part: the part of the record that holds it, for errors.
    """
    if half := SURROGATE.search(text):
        raise ValueError(
            f"{where} has half of a surrogate pair, {half[0]!r}, in its {part}, which is no "
            "character: correct the text, or remove the record"
        )


def is_blank(text: str) -> bool:
    """Return whether a text has no visible character."""
    return not text.strip() or not invisible().sub("", text).strip()


def shortened(value: object, most: int = 60) -> str:
    """Return a value in quotes, cut if it is long."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def listed(names: Iterable[str], most: int) -> str:
    """Return the first names of a list, separated by commas.

    >>> listed("abc", most=2)
    'a, b, ...'
    """
    every = list(names)
    return ", ".join([*every[:most], *(["..."] if every[most:] else [])])


Ids = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Vocabulary:
    """Identifies a tokenizer."""

    checksum: str
    """Checksum of the tokens and their ids."""
    size: int
    """Largest id plus 1."""
    start: int
    """Id of the token that precedes a document."""
    end: int
    """Id of the token that ends a document."""
    around: tuple[str, str]
    """Both tokens as text."""


class Marks(NamedTuple):
    """The tokens around a document, by id."""

    start: int
    end: int


END_TOKENS = ("<|endoftext|>", "<|end_of_text|>", "<|end_of_document|>", "</s>", "<eos>")
"""Tokens by which public models separate the documents that they are pretrained on."""
TURN = re.compile(r"im_(start|end|sep)|eot|eom|turn|header|user|assistant|system")
"""Matches tokens around the turns of a chat, as instruct models have in place of others."""


def marks(tokenizer: "PreTrainedTokenizerBase") -> Marks:
    """Return the tokens around documents in the pretraining of a tokenizer's model.

    A document ends with the token that separates documents: the end token of the tokenizer, or, if
    that is not one of `END_TOKENS`, one of these that the vocabulary has. A tokenizer with neither
    separates documents by its beginning, separating or padding token, or by a line end. A document
    begins with the beginning token if the tokenizer has one, and with the separator otherwise. No
    text of a pretraining has the tokens around turns of a chat, which are never taken.

    Raises:
        ValueError: if no token separates documents.
    """
    tokens, own = tokenizer.get_vocab(), tokenizer.eos_token
    known = [token for token in END_TOKENS if token in tokens]
    end = own if own in END_TOKENS or not known else known[0]
    end = _without_end(tokenizer) if end is None else end
    if end is None or TURN.search(end):
        chat = "" if end is None else f", only {end!r}, which ends a turn of a chat"
        raise ValueError(
            f"the tokenizer has no end-of-text token{chat}: set its eos_token to the one that "
            "separates documents"
        )
    begin = tokenizer.bos_token
    start = end if begin is None or TURN.search(begin) else begin
    return Marks(int(tokens[start]), int(tokens[end]))


def _without_end(tokenizer: "PreTrainedTokenizerBase") -> str | None:
    """Return the token that separates documents for a tokenizer without an end token, if any."""
    own = (tokenizer.bos_token, tokenizer.sep_token, tokenizer.pad_token)
    for token in own:
        if token is not None and not TURN.search(token):
            return str(token)
    line_end = tokenizer("\n", add_special_tokens=False)["input_ids"]
    if len(line_end) == 1 and tokenizer.decode(line_end) == "\n":
        return str(tokenizer.convert_ids_to_tokens(line_end[0]))
    return None


def vocabulary(tokenizer: "PreTrainedTokenizerBase") -> Vocabulary:
    """Return what identifies a tokenizer.

    Raises:
        ValueError: if it has no end-of-text token.
    """
    tokens, around = tokenizer.get_vocab(), marks(tokenizer)
    data = json.dumps(sorted(tokens.items())).encode()
    return Vocabulary(
        checksum=hashlib.sha256(data).hexdigest(),
        size=max(tokens.values()) + 1,
        start=around.start,
        end=around.end,
        around=(
            str(tokenizer.convert_ids_to_tokens(around.start)),
            str(tokenizer.convert_ids_to_tokens(around.end)),
        ),
    )


def tokenizer_checksum(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return a checksum of all that determines how a tokenizer divides a text."""
    data = json.loads(tokenizer.backend_tokenizer.to_str())
    rules = {name: part for name, part in data.items() if name not in ("truncation", "padding")}
    return hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()


def chat_settings(tokenizer: "PreTrainedTokenizerBase") -> dict[str, str]:
    """Return a checksum of a tokenizer's chat template by its name, or nothing without one."""
    if not tokenizer.chat_template:
        return {}
    template = json.dumps(tokenizer.chat_template, sort_keys=True)
    return {"chat_template_checksum": hashlib.sha256(template.encode()).hexdigest()}


@dataclass(frozen=True, slots=True)
class Encoded:
    """The tokens of a document, and the part of its text that they are kept of."""

    whole: Ids
    """All tokens, and the end."""
    tokens: Ids
    """The tokens within the context."""
    text: str
    """The text of these tokens; a word that is not whole in them is left out."""

    @property
    def dropped(self) -> int:
        """The number of tokens of the text beyond the context."""
        return max(0, len(self.whole) - 1 - len(self.tokens))


def encode_documents(
    tokenizer: "PreTrainedTokenizerBase",
    texts: Sequence[str],
    end: int,
    context: int | None,
    rendered: Sequence[bool] = (),
) -> list[Encoded]:
    """Return the tokens of each text followed by the end, truncated to the context.

    A special token that is spelled out in a text, such as the end, is encoded as plain characters,
    except in a text that a chat template has rendered, whose tokens around turns are special.

    Args:
        tokenizer: the tokenizer.
        texts: the texts.
        end: the token that ends a document.
        context: maximum number of tokens of a document, its end included; None for no limit.
        rendered: whether a chat template has rendered each text; by default none.
    """
    found: dict[int, Encoded] = {}
    for special in (False, True):
        numbers = [n for n in range(len(texts)) if (bool(rendered) and rendered[n]) == special]
        own = [texts[n] for n in numbers]
        found |= zip(numbers, _encode(tokenizer, own, (end, context), special), strict=True)
    return [found[n] for n in range(len(texts))]


def _encode(
    tokenizer: "PreTrainedTokenizerBase",
    texts: list[str],
    limits: tuple[int, int | None],
    special: bool,
) -> list[Encoded]:
    """Return the tokens of texts, in all of which special tokens are read as such, or in none."""
    if not texts:
        return []
    end, context = limits
    encoded = tokenizer(
        texts,
        add_special_tokens=False,
        split_special_tokens=not special,
        return_attention_mask=False,
        verbose=False,
    )
    found = []
    for number, (text, ids) in enumerate(zip(texts, encoded["input_ids"], strict=True)):
        whole = np.array([*ids, end], np.int64)
        kept = text
        if context is not None and len(ids) > context:
            last, first_dropped = (encoded.token_to_chars(number, context - n) for n in (1, 0))
            # both are the same character if its bytes are several tokens
            kept = _cut(text, min(last.end, first_dropped.start))
        found.append(Encoded(whole, whole[:context], kept))
    return found


UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Ranges of characters of scripts without spaces between words: Thai, Lao, Burmese, Khmer, Chinese
and Japanese."""
_UNSPACED = re.compile(f"[{UNSPACED}]")


def _cut(text: str, place: int) -> str:
    """Return a text up to a place, or up to the word that the place is inside of."""
    if _in_word(text[place : place + 1]):
        while place and _in_word(text[place - 1]):
            place -= 1
    return text[:place]


def _in_word(character: str) -> bool:
    """Return whether a character continues the word before it."""
    if not character or _UNSPACED.match(character):
        return False
    mark = category(character)[0] == "M" or invisible().match(character)
    return character.isalnum() or character == "_" or bool(mark)
