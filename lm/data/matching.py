"""Forms in which words and values are compared, so that equal ones match however they are written.

Only comparisons use these forms. The tokens that a model is trained on are those of the text as it
was read.
"""

import re
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import cache
from math import isnan

from lm.data.document import UNSPACED, invisible, shortened

FORM = (
    "canonical caseless matching of Unicode (casefold, NFC), without zero-width characters, with "
    "any white space for a space, any apostrophe or hyphen for that of ASCII, and plain characters "
    "for those of other widths and fonts"
)
"""The form of texts and words in which words are searched for."""

PUNCTUATION = str.maketrans(
    dict.fromkeys("\u2018\u2019\u02bc\u2032\uff07", "'")
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d", "-")
)
"""Apostrophes and hyphens that word processors and PDF files write for those of ASCII."""

STYLED = (range(0xFF01, 0xFFEF), range(0x2100, 0x2150), range(0x1D400, 0x1D800))
"""Blocks of characters of other widths, and of letters of mathematics."""

_GAP = "\u200b"
"""Stands for zero-width characters inside a folded text."""


def folded(text: str) -> str:
    """Return a text in the form in which words are searched for, without zero-width characters.

    >>> folded("Old OAK")
    'old oak'
    """
    if text.isascii():
        return text.lower()
    visible = unicodedata.normalize("NFD", invisible().sub("", text).translate(_unstyled()))
    return unicodedata.normalize("NFC", visible.casefold()).translate(PUNCTUATION)


@cache
def _unstyled() -> dict[int, str]:
    """Return the plain characters of those of another width or font, by their codes."""
    return {
        code: unicodedata.normalize("NFKC", chr(code))
        for codes in STYLED
        for code in codes
        if unicodedata.decomposition(chr(code)).startswith(("<wide>", "<narrow>", "<font>"))
    }


class Words:
    """Searches texts for whole words, in any case and in any form of Unicode.

    A zero-width character is taken both ways: as inside of a word, and as the end of one.

    Args:
        words: the words; the white space in one matches any white space.
    """

    def __init__(self, words: Sequence[str]) -> None:
        # a pattern is slow, and most texts do not even have the letters of a word
        self._all = [
            (word, folded(word).split()[0], re.compile(_of_word(folded(word)))) for word in words
        ]

    def match(self, text: str) -> bool:
        """Return whether a text contains one of the words."""
        return any(True for _ in self._matches(text))

    def within(self, text: str) -> list[str]:
        """Return the words that a text contains."""
        return list(self._matches(text))

    def _matches(self, text: str) -> Iterator[str]:
        """Yield the words that a text contains."""
        forms = [folded(text)]
        if not text.isascii() and invisible().search(text):
            forms.append(_GAP.join(folded(part) for part in invisible().split(text)))
        for word, letters, pattern in self._all:
            if letters in forms[0] and any(pattern.search(form) for form in forms):
                yield word


def _of_word(word: str) -> str:
    """Return the pattern of a whole word, between whose characters there may be a gap."""
    spelled = f"{_GAP}?".join(
        rf"(?:\s|{_GAP})+" if each == " " else re.escape(each)
        for each in re.sub(r"\s+", " ", word.strip())
    )
    inside = rf"[\w{_marks()}]"  # `\w` lacks accents, and vowel signs of many scripts
    unspaced = re.compile(f"[{UNSPACED}]")
    before = "" if unspaced.match(word[:1]) else f"(?<!{inside})"
    after = "" if unspaced.match(word[-1:]) else f"(?!{inside})"
    return f"{before}{spelled}{after}"


@cache
def _marks() -> str:
    """Return the combining marks, as ranges of a class of characters."""
    ranges: list[list[int]] = []
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code))[0] == "M" and not invisible().match(chr(code)):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)


def plain(text: str) -> str:
    """Return a text composed (NFC), without zero-width characters and outer white space."""
    return unicodedata.normalize("NFC", invisible().sub("", text)).strip()


_NUMBER = re.compile(r"-?(0|[1-9]\d{0,300})(\.\d{1,300})?([eE][+-]?\d{1,3})?", re.ASCII)
"""A number as JSON writes it, so that ids such as 007 stay text."""
_NAMED = {"true": "1", "false": "0", "null": "", "none": "", "nan": ""}
"""Forms of words that stand for a value."""


def value_form(value: object) -> str:
    """Return the form in which a value of a record is compared; that of an empty value is empty.

    Numbers are compared by value, also those that are written as text, and true is 1. Empty are
    null, NaN, and text that is blank or says so.

    Raises:
        TypeError: if the value is a list or an object.

    >>> [value_form(each) for each in (1, 1.0, "1", " 1.0", True, "True", 1.5, "Bio ", None, "nan")]
    ['1', '1', '1', '1', '1', '1', '1.5', 'Bio', '', '']
    """
    if isinstance(value, list | tuple | dict | bytes):
        raise TypeError(f"{shortened(value)} is no single value: give text, a number or true")
    text = value if isinstance(value, str) else str(value)
    text = plain(text)
    if text.casefold() in _NAMED:
        return _NAMED[text.casefold()]
    if not _NUMBER.fullmatch(text):
        return text
    if re.fullmatch(r"-?\d+", text):
        return str(int(text))
    number = float(text)
    return str(int(number)) if number.is_integer() else repr(number)


def number_of(value: object) -> float | None:
    """Return a number, which may be written as text, as all of a .csv file is; None if it is none.

    >>> [number_of(each) for each in (1, " 0.5", 10, "high", True, None)]
    [1, 0.5, 10, None, None, None]
    """
    if isinstance(value, str):
        text = plain(value)
        return float(text) if _NUMBER.fullmatch(text) else None
    if isinstance(value, Decimal):
        value = float(value)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return None if isinstance(value, float) and isnan(value) else value
