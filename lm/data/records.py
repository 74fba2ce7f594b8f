"""Records as documents: the field that holds the text, and conversations as text.

A field may lie inside of others: `meta.text` is the field `text` of the field `meta`, unless a
field is named `meta.text` itself. A conversation is a list of messages, each with a `role` and a
`content`, and the chat template of the tokenizer makes its text.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import cached_property
from math import isnan
from typing import TYPE_CHECKING, Any

from lm.data.document import Document, Located, listed, marks, require_characters, shortened
from lm.models.hf_loading import first_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEXT, MESSAGES = "text", "messages"
"""The default field of texts, and that of conversations, which is read in records without it."""
PATIENCE = 1000
"""Number of records without the field, at the start of a file, at which the file is refused."""
NAMED = 20
"""Most fields that an error message names."""


def value_of(record: Mapping[str, Any], field: str) -> Any:  # noqa: ANN401
    """Return the value of a field, which may lie inside of others.

    Raises:
        KeyError: if there is no such field.

    >>> value_of({"meta": {"text": "a"}}, "meta.text"), value_of({"meta.text": "b"}, "meta.text")
    ('a', 'b')
    """
    if field in record:
        return record[field]
    for place, character in enumerate(field):
        inner = record.get(field[:place]) if character == "." else None
        if isinstance(inner, Mapping):
            try:
                return value_of(inner, field[place + 1 :])
            except KeyError:
                continue
    raise KeyError(field)


def required_value(record: Mapping[str, Any], field: str, owner: str, flag: str) -> Any:  # noqa: ANN401
    """Return the value of a field that a record must have.

    Args:
        record: the record.
        field: the field, as in `value_of`.
        owner: what the record is called in an error.
        flag: the flag that names the field.

    Raises:
        ValueError: if there is no such field.
    """
    try:
        return value_of(record, field)
    except KeyError as error:
        raise ValueError(
            f"{owner} has no field {field!r}, only {', '.join(field_names(record))}: name another "
            f"by {flag}"
        ) from error


def field_names(record: Mapping[str, Any]) -> list[str]:
    """Return the names of the fields of a record, those inside of others after a dot.

    >>> field_names({"id": 1, "meta": {"text": "a", "url": "b"}})
    ['id', 'meta.text', 'meta.url']
    """
    names = []
    for name, value in record.items():
        inner = field_names(value) if isinstance(value, Mapping) else []
        names += [f"{name}.{each}" for each in inner] or [str(name)]
    return names


class ChatTemplate:
    """Makes texts of conversations by the chat template of a tokenizer.

    Args:
        tokenizer: the tokenizer; None refuses conversations.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase | None") -> None:
        self.tokenizer = tokenizer

    @cached_property
    def _around(self) -> tuple[str, str]:
        """The tokens that stand around every document, and are no part of its text."""
        assert self.tokenizer is not None
        start, end = map(self.tokenizer.convert_ids_to_tokens, marks(self.tokenizer))
        return str(start), str(end)

    @cached_property
    def _template(self) -> str:
        """The template, with a fixed date for today's, so that texts are always the same."""
        assert self.tokenizer is not None
        template = self.tokenizer.get_chat_template()
        return _TODAY.sub(lambda call: repr(DAY.strftime(call[2])), template)

    def render(self, messages: Sequence[Mapping[str, Any]], where: str) -> str:
        """Return the text of a conversation, without the tokens that stand around a document.

        Raises:
            ValueError: if the tokenizer has no template, or it refuses the conversation.
        """
        if self.tokenizer is None or not self.tokenizer.chat_template:
            raise ValueError(
                f"{where} has a conversation, and the tokenizer has no chat template: give the "
                "tokenizer of a model for conversations, or name a field of text by --text-field"
            )
        try:
            text = self.tokenizer.apply_chat_template(
                list(messages), chat_template=self._template, tokenize=False
            )
        except Exception as error:  # a template is a program, which raises errors of many kinds
            raise ValueError(
                f"{where} has a conversation that the tokenizer's chat template refuses "
                f"({first_line(error)}): correct it, or remove the record"
            ) from error
        start, end = self._around
        return str(text).removeprefix(start).removesuffix(end)


DAY = date(2024, 7, 26)
"""The date in conversations, which is the default of the templates of Llama 3."""
_TODAY = re.compile(r"""strftime_now\(\s*(['"])(.*?)\1\s*\)""")
"""Matches the calls by which templates write today's date."""


def documents_of(
    records: Iterator[Located],
    field: str,
    first: int = 0,
    chat: ChatTemplate | None = None,
    skip: int = 0,
) -> Iterator[Document]:
    """Yield the documents of records; the text of some may be blank.

    Records without the field have a blank text, as those with null in it have.

    Args:
        records: the records. If their numbers begin above 0, earlier ones had the field.
        field: the field of the text.
        first: number of the first record.
        chat: makes texts of conversations.
        skip: number of the first record of which the document is returned.

    Raises:
        ValueError: if no record of a file has the field, or one has something other than text in
            it.
    """
    chat = chat or ChatTemplate(None)
    found, file = first > 0, None
    lacking = _Lacking(field)
    for number, located in enumerate(records, first):
        if file not in (None, located.file):
            lacking.require_none()
            found = False
        file = located.file
        try:
            value = _value(located.record, field)
        except KeyError:
            value = None
            if not found:
                lacking.add(number, located)
                continue
        for early, each in lacking.take():
            if early >= skip:
                yield Document(early, "", each.record, each.origin)
        found = True
        if number >= skip:
            text, messages = _text(value, located.where, field, chat)
            yield Document(number, text, located.record, located.origin, messages)
    lacking.require_none()


def _value(record: Mapping[str, Any], field: str) -> Any:  # noqa: ANN401
    if field == TEXT and TEXT not in record and isinstance(record.get(MESSAGES), list):
        return record[MESSAGES]
    return value_of(record, field)


class _Lacking:
    """The records at the start of a file that lack the field of the text.

    They are held back until a later record has it, or the file is refused.

    Args:
        field: the field.
    """

    def __init__(self, field: str) -> None:
        self.field = field
        self._held: list[tuple[int, Located]] = []

    def add(self, number: int, located: Located) -> None:
        """Hold a record back.

        Raises:
            ValueError: if there are `PATIENCE` of them.
        """
        self._held.append((number, located))
        if len(self._held) >= PATIENCE:
            self.require_none()

    def take(self) -> list[tuple[int, Located]]:
        """Return the records with their numbers, and hold them back no longer."""
        held, self._held = self._held, []
        return held

    def require_none(self) -> None:
        """Raise a ValueError if a record is held back."""
        if not self._held:
            return
        names = list(dict.fromkeys(n for _, each in self._held for n in field_names(each.record)))
        fields = listed(names, NAMED) or "nothing"
        more = len(self._held) - 1
        also = f" (nor have the next {more:,} records)" if more else ""
        raise ValueError(
            f"{self._held[0][1].where} has no text in a field {self.field!r}, only {fields}{also}: "
            "name the field by --text-field"
        )


def _text(
    value: Any,  # noqa: ANN401
    where: str,
    field: str,
    chat: ChatTemplate,
) -> tuple[str, str | None]:
    """Return the text of a value, and for a conversation also what its messages say.

    Raises:
        ValueError: if the value is no text, number, null or conversation.
    """
    messages = None
    if value is None or (isinstance(value, float) and isnan(value)):
        text = ""
    elif isinstance(value, str):
        text = value
    elif isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        text = str(value)
    elif _is_conversation(value):
        text, messages = chat.render(value, where), "\n".join(filter(None, map(_content, value)))
    else:
        raise ValueError(
            f"{where} has no text in its field {field!r}: {shortened(value)}: give text, or "
            "remove the record"
        )
    require_characters(text, where, f"field {field!r}")
    return text, messages


def _is_conversation(value: Any) -> bool:  # noqa: ANN401
    """Return whether a value is a list of messages."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(each, Mapping) and {"role", "content"} <= each.keys() for each in value)
    )


def _content(message: Mapping[str, Any]) -> str:
    """Return the text of a message, which may be in parts."""
    content = message["content"]
    parts = content if isinstance(content, list) else [{"text": content}]
    texts = [part.get("text") for part in parts if isinstance(part, Mapping)]
    return "\n".join(text for text in texts if isinstance(text, str))
