"""Texts are found in records of every shape, and records without text are blank."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from lm.data.document import Document, Located
from lm.data.records import PATIENCE, ChatTemplate, documents_of, field_names, value_of
from tests.lm.data.factories import END, make_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TURNS = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
CHAT = [{"role": "user", "content": "A tree?"}, {"role": "assistant", "content": "An oak."}]


def located(records: Sequence[Mapping[str, Any]], file: str = "a") -> Iterator[Located]:
    return (Located(f"{file}, line {n}", each, file=file) for n, each in enumerate(records, 1))


def read(
    records: Sequence[Mapping[str, Any]],
    field: str = "text",
    chat: ChatTemplate | None = None,
    **options: int,
) -> list[Document]:
    return list(documents_of(located(records), field, chat=chat, **options))


def chatting(template: str | None, **tokens: str) -> "PreTrainedTokenizerBase":
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens(tokens)
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize(
    ("record", "field", "value"),
    [
        ({"a": 1}, "a", 1),
        ({"a": {"b": 2}}, "a.b", 2),
        ({"a": {"b": {"c": 3}}}, "a.b.c", 3),
        ({"a.b": 4, "a": {"b": 5}}, "a.b", 4),
        ({"a.b": {"c": 6}}, "a.b.c", 6),
        ({"a": {"b.c": 7}}, "a.b.c", 7),
        ({"a": {"x": 0}, "a.b": {"c": 8}}, "a.b.c", 8),
        ({"a": None, "": {"": 9}}, ".", 9),
    ],
)
def test_field_is_found_inside_of_others(record: dict[str, Any], field: str, value: int) -> None:
    assert value_of(record, field) == value


@pytest.mark.parametrize("record", [{}, {"a": None}, {"a": "b"}, {"a": {}}, {"a": [{"b": 1}]}])
def test_field_that_is_not_there_is_a_key_error(record: dict[str, Any]) -> None:
    with pytest.raises(KeyError):
        value_of(record, "a.b")


def test_fields_are_listed_with_those_inside_of_others() -> None:
    assert field_names({"a": {"b": {"c": 1}, "d": 2}, "e": {}}) == ["a.b.c", "a.d", "e"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (5, "5"),
        (0.1, "0.1"),
        (Decimal("1.50"), "1.50"),
        (10**30, str(10**30)),
        (None, ""),
        (float("nan"), ""),
        ("", ""),
    ],
)
def test_numbers_are_text_and_nothing_is_blank(value: object, text: str) -> None:
    assert [each.text for each in read([{"text": value}])] == [text]


@pytest.mark.parametrize("value", [True, ["a"], {"a": 1}, b"a", [{"role": "user"}], []])
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"a, line 1 has no text in its field 'text': .*: give te"):
        read([{"text": value}])


@pytest.mark.parametrize("first", [0, 1, 3])
def test_records_without_the_field_are_blank_if_another_has_it(first: int) -> None:
    records: list[dict[str, Any]] = [
        {"id": 1},
        {"id": 2, "text": "a"},
        {"id": 3},
        {"meta": None},
        {"text": "b"},
    ]
    found = read(records, skip=first)
    assert [(each.number, each.text) for each in found] == [
        (0, ""),
        (1, "a"),
        (2, ""),
        (3, ""),
        (4, "b"),
    ][first:]
    assert [each.fields for each in found] == records[first:]


def test_file_of_which_no_record_has_the_field_is_refused() -> None:
    records = [*located([{"text": "a"}]), *located([{"id": 1, "meta": {"body": "b"}}] * 3, "b")]
    found = documents_of(iter(records), "text")
    assert next(found).text == "a"
    message = (
        r"^b, line 1 has no text in a field 'text', only id, meta\.body \(nor have the next 2 "
        r"records\): name the field by --text-field$"
    )
    with pytest.raises(ValueError, match=message):
        next(found)


def test_long_file_is_refused_before_its_end() -> None:
    records = located([{f"f{n}": 1} for n in range(PATIENCE)] + [{"text": "a"}])
    with pytest.raises(
        ValueError, match=r"only f0, f1, .*, f19, \.\.\. \(nor have the next 999 re"
    ):
        next(documents_of(records, "text"))
    assert next(records).record == {"text": "a"}


def test_record_that_is_resumed_from_may_lack_the_field() -> None:
    found = documents_of(located([{"id": 1}]), "text", first=7)
    assert [(each.number, each.text) for each in found] == [(7, "")]


@pytest.mark.parametrize(
    ("records", "field"),
    [
        ([{"messages": CHAT}], "text"),
        ([{"messages": CHAT}], "messages"),
        ([{"data": {"turns": CHAT}}], "data.turns"),
        ([{"text": CHAT, "messages": "none"}], "text"),
    ],
)
def test_conversations_are_rendered_by_the_chat_template(
    records: list[dict[str, Any]], field: str
) -> None:
    (found,) = read(records, field, ChatTemplate(chatting(TURNS)))
    assert found.text == "<user>A tree?<assistant>An oak."
    assert found.messages == "A tree?\nAn oak."


def test_text_comes_before_messages_and_is_as_it_stands() -> None:
    (found,) = read([{"text": "a", "messages": CHAT}], chat=ChatTemplate(chatting(TURNS)))
    assert (found.text, found.messages) == ("a", None)


def test_tokens_around_documents_are_no_part_of_conversations() -> None:
    tokenizer = chatting(f"{{{{ bos_token }}}}{TURNS}{END}", bos_token="<s>")
    (found,) = read([{"messages": CHAT}], chat=ChatTemplate(tokenizer))
    assert found.text == "<user>A tree?<assistant>An oak."


def test_date_in_conversations_is_always_the_same() -> None:
    template = '{% if strftime_now is defined %}{{ strftime_now( "%d %b %Y") }}{% endif %}'
    (found,) = read([{"messages": CHAT}], chat=ChatTemplate(chatting(template)))
    assert found.text == "26 Jul 2024"


def test_parts_of_messages_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]
    chat = [{"role": "user", "content": parts}, {"role": "assistant", "content": None}]
    template = "{% for m in messages %}{{ m.role }} {% endfor %}"
    (found,) = read([{"messages": chat}], chat=ChatTemplate(chatting(template)))
    assert (found.text, found.messages) == ("user assistant ", "a\nb")


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [
        (None, "the tokenizer has no chat template: give the tokenizer of a model for conv"),
        (chatting(None), "the tokenizer has no chat template: give the tokenizer of a model for"),
        (
            chatting("{{ raise_exception('roles must\\nalternate') }}"),
            r"that the tokenizer's chat template refuses \(roles must\): correct it",
        ),
        (chatting("{{ messages[0].content + 5 }}"), "chat template refuses"),
    ],
)
def test_conversations_that_cannot_be_rendered_are_refused_in_one_line(
    tokenizer: "PreTrainedTokenizerBase | None", message: str
) -> None:
    with pytest.raises(ValueError, match=f"^a, line 1 has a conversation.*{message}") as caught:
        read([{"messages": CHAT}], chat=ChatTemplate(tokenizer))
    assert "\n" not in str(caught.value)


def test_half_of_a_surrogate_pair_in_a_message_is_refused() -> None:
    chat = [{"role": "user", "content": "a \ud83d"}]
    with pytest.raises(ValueError, match="line 1 has half of a surrogate pair"):
        read([{"messages": chat}], chat=ChatTemplate(chatting(TURNS)))
