"""Labelers follow their rules, and errors name documents that cannot be labeled."""

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lm.data.document import Document
from lm.data.labeling import (
    TREES,
    VIROLOGY,
    LabelerConfig,
    labeler_settings,
    make_labeler,
    read_labels,
    read_named_labels,
    single_tokens,
)
from lm.training.route_tables import FORGET, RETAIN, UNLABELED
from tests.lm.data.factories import make_tokenizer


def labels(config: LabelerConfig, text: str = "a", number: int = 0, **fields: Any) -> list[int]:  # noqa: ANN401
    """Return the labels of a document with two tokens."""
    label = make_labeler(config, make_tokenizer())
    document = Document(number, text, {"text": text, **fields})
    return list(map(int, label(document, np.array([1, 2]))))


@pytest.mark.parametrize("text", ["Trees.", "the FOREST", "tree", "in-woodlands", "a\nforest's"])
def test_keyword_matches_whole_words_in_any_case(text: str) -> None:
    assert labels(LabelerConfig(), text) == [FORGET, FORGET]


@pytest.mark.parametrize("text", ["street", "treetop", "tree_house", "forested", "wood land", ""])
def test_keyword_does_not_match_parts_of_words(text: str) -> None:
    assert labels(LabelerConfig(), text) == [RETAIN, RETAIN]


def test_given_words_replace_the_default_keywords() -> None:
    config = LabelerConfig(words=("C++", "old oak"))
    assert labels(config, "use c++ now") == labels(config, "An Old Oak.") == [FORGET, FORGET]
    assert labels(config, "a tree") == [RETAIN, RETAIN]
    assert labeler_settings(LabelerConfig())["words"] == list(TREES)


@pytest.mark.parametrize(
    ("retain", "expected"), [((), RETAIN), (("art",), UNLABELED), (("art", "7"), RETAIN)]
)
def test_field_values_map_to_labels(retain: tuple[str, ...], expected: int) -> None:
    config = LabelerConfig(
        labeler="field", field="topic", forget_values=("biology", "3"), retain_values=retain
    )
    for topic, label in (("biology", FORGET), (3, FORGET), ("art", RETAIN), (7, expected)):
        assert labels(config, topic=topic) == [label, label]


@pytest.mark.parametrize("given", ["1", "1.0", "true", "True", " 1"])
@pytest.mark.parametrize("value", [1, 1.0, "1", "1.0", True, "true", "TRUE"])
def test_values_are_compared_by_value_and_not_as_they_are_written(
    given: str, value: object
) -> None:
    config = LabelerConfig(labeler="field", forget_values=(given,))
    assert labels(config, label=value) == [FORGET, FORGET]
    for other in (0, 0.0, "0", False, "false", 2, "01", "one"):
        assert labels(config, label=other) == [RETAIN, RETAIN]


@pytest.mark.parametrize("value", [None, "", " ", "\u200b", float("nan"), "None", "null"])
def test_empty_value_is_unlabeled_unless_it_is_given(value: object) -> None:
    config = LabelerConfig(labeler="field", forget_values=("bio",))
    assert labels(config, label=value) == [UNLABELED, UNLABELED]
    document = Document(0, "a", {"label": value})
    assert make_labeler(config, make_tokenizer()).odd(document) == {
        "empty_values": 1,
        "other_case": 0,
    }
    given = LabelerConfig(labeler="field", forget_values=("null",), retain_values=("bio",))
    assert labels(given, label=value) == [FORGET, FORGET]


def test_marks_are_those_of_the_document() -> None:
    tokenizer, tokens = make_tokenizer(texts=[" virus cell"] * 20), np.array([1, 2])
    words = make_labeler(LabelerConfig(words=("sea", "Sea", " ", "oak", "se\u200ba")), tokenizer)
    assert words.marks == ("sea", "oak")
    assert words.counts == {"blank_marks": 1, "doubled_marks": 2}
    assert words.marks_of(Document(0, "the SEA", {}), tokens) == ["sea"]
    value = LabelerConfig(labeler="field", forget_values=("1", "x"), retain_values=("2", "2.0"))
    values = make_labeler(value, tokenizer)
    assert (values.marks, values.counts) == (("1", "x", "2"), {"doubled_marks": 1})
    assert values.marks_of(Document(0, "a", {"label": 1.0}), tokens) == ["1"]
    assert values.marks_of(Document(0, "a", {"label": 3}), tokens) == []
    given = (" virus", " virus", "xqzkj", " \u200bvirus")
    single = make_labeler(LabelerConfig(labeler="tokens", words=given), tokenizer)
    assert single.marks == (" virus",)
    assert single.counts == {"words_of_several_tokens": 1, "doubled_marks": 2}
    text = np.array(tokenizer("a virus")["input_ids"])
    assert single.marks_of(Document(0, "a virus", {}), text) == [" virus"]


@pytest.mark.parametrize(
    ("score", "label"),
    [
        *((0.19, RETAIN), (0.2, UNLABELED), (0.8, UNLABELED), (0.81, FORGET), (1, FORGET)),
        *(("0.81", FORGET), (" 0.19", RETAIN), ("1e0", FORGET)),
        *((10**400, FORGET), (-(10**400), RETAIN), (float("inf"), FORGET)),
    ],
)
def test_scores_are_labeled_by_two_thresholds(score: float | str, label: int) -> None:
    config = LabelerConfig(labeler="scores", field="score", low=0.2, high=0.8)
    assert labels(config, score=score) == [label, label]


def test_list_labels_by_line_or_by_id(tmp_path: Path) -> None:
    lines, named = tmp_path / "a.txt", tmp_path / "a.json"
    lines.write_text("retain\n forget\nunlabeled\n")
    named.write_text(json.dumps({"x": "forget", "5": "unlabeled"}))
    by_line = LabelerConfig(labeler="list", labels=lines)
    assert [labels(by_line, number=n)[0] for n in range(3)] == [RETAIN, FORGET, UNLABELED]
    by_id = LabelerConfig(labeler="list", labels=named, field="id")
    assert [labels(by_id, id=each)[0] for each in ("x", 5)] == [FORGET, UNLABELED]
    before = labeler_settings(by_line)
    lines.write_text("retain\n")
    assert labeler_settings(by_line) != before


@pytest.mark.parametrize("content", ["{}", "\ufeff{}", "\ufeff\ufeff{}"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\ufeff"])
def test_list_may_have_byte_order_marks_and_line_ends_of_any_system(
    tmp_path: Path, content: str, end: str
) -> None:
    lines, named = tmp_path / "a.txt", tmp_path / "a.JSON"
    lines.write_bytes(content.format(end.join(["retain", "forget\u200b", "retain"])).encode())
    assert read_labels(lines) == [RETAIN, FORGET, RETAIN]
    body = end.join(['{"x":', '"forget"}'])
    named.write_bytes(content.replace("{}", body).encode())
    assert read_named_labels(named) == ({"x": FORGET}, 0)


def test_ids_are_found_as_written_or_by_value(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    given = {
        "5": "forget",
        "007": "unlabeled",
        "1": "forget",
        "1.0": "retain",
        "caf\u00e9": "forget",
    }
    path.write_text(json.dumps(given))
    config = LabelerConfig(labeler="list", labels=path, field="id")
    found = (5, FORGET), (5.0, FORGET), ("5", FORGET), ("cafe\u0301", FORGET), ("007", UNLABELED)
    for value, label in (*found, ("1", FORGET), ("1.0", RETAIN)):
        assert labels(config, id=value)[0] == label
    for value in (7, "7", 1, 1.0):  # the last two have two labels by value
        with pytest.raises(ValueError, match="the labels lack document"):
            labels(config, id=value)


@pytest.mark.parametrize("value", [["d1"], {"d1": 1}])
def test_id_that_is_no_single_value_is_refused(tmp_path: Path, value: object) -> None:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"d1": "forget"}))
    with pytest.raises(ValueError, match=r"document 0 in its field 'id': .* is no single value"):
        labels(LabelerConfig(labeler="list", field="id", labels=path), id=value)


def test_id_with_one_label_twice_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": "forget", "b": "retain", "a": "forget"}')
    assert read_named_labels(path) == ({"a": FORGET, "b": RETAIN}, 1)


def test_tokens_are_labeled_individually() -> None:
    tokenizer = make_tokenizer(texts=["a virus, an RNA virus, its RNA cell"] * 20)
    found = single_tokens(VIROLOGY, tokenizer)
    assert set(found) >= {" virus", " cell"}
    text = "virus: a virus in the cell"
    tokens = np.array(tokenizer(text)["input_ids"])
    label = make_labeler(LabelerConfig(labeler="tokens"), tokenizer)
    pieces = [tokenizer.decode([token]) for token in tokens]
    given = label(Document(0, text, {}), tokens)
    assert given.tolist() == [FORGET if piece in VIROLOGY else RETAIN for piece in pieces]
    assert given.max() == FORGET
    assert len(VIROLOGY) == len(set(VIROLOGY)) == 20


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("a caf\u00e9", 0),
        ("a cafe\u0301", 1),
        ("a ca\u200bf\u00e9", 1),
        ("a cafe", 0),
        ("a caf\u00e9, a cafe\u0301", 0),
    ],
)
def test_words_whose_tokens_are_of_another_form_are_counted(text: str, count: int) -> None:
    tokenizer = make_tokenizer(texts=[" caf\u00e9"] * 20)
    for word in (" caf\u00e9", " cafe\u0301"):
        label = make_labeler(LabelerConfig(labeler="tokens", words=(word,)), tokenizer)
        assert label.odd(Document(0, text, {})) == {"other_forms": count}


@pytest.mark.parametrize(
    ("config", "fields", "message"),
    [
        ({"labeler": "field", "forget_values": ("a",)}, {}, "document 0 has no field 'label'"),
        ({"labeler": "scores"}, {"label": "high"}, "has the score 'high' in its field 'label'"),
        ({"labeler": "scores"}, {"label": float("nan")}, "has the score nan"),
        ({"labeler": "scores"}, {"label": "nan"}, "has the score 'nan'"),
        ({"labeler": "scores"}, {"label": ""}, "has the score ''"),
        (
            {"labeler": "scores", "field": "meta.x"},
            {"meta": {"y": 1}},
            "document 0 has no field 'meta.x', only text, meta.y: name another",
        ),
        ({"labeler": "scores"}, {"label": True}, "has the score True"),
        ({"words": (" ",)}, {}, "no words were given"),
        ({"labeler": "tokens", "words": ("xqzkj",)}, {}, "is one token of this tokenizer"),
        ({"labeler": "field"}, {}, "needs --forget-values"),
        ({"labeler": "list"}, {}, "needs --labels"),
        (
            {"labeler": "scores", "low": 0.9, "high": 0.1},
            {},
            "give two numbers, the lower one first",
        ),
        (
            {"labeler": "field", "forget_values": ("a",), "retain_values": ("a",)},
            {},
            "to forget and to retain",
        ),
        (
            {"labeler": "field", "forget_values": ("1",), "retain_values": ("true",)},
            {},
            "to forget and to retain",
        ),
        ({"labels": Path("a.txt")}, {}, "--labels was given, which the labeler keywords does not"),
        ({"forget_values": ("a",)}, {}, "leave it out, or give --labeler field"),
        ({"field": "topic"}, {}, "give --labeler words or field or scores or list"),
        ({"high": 0.5}, {}, "--high was given, which the labeler keywords does not use"),
        (
            {"labeler": "field", "forget_values": ("a",), "words": ("b",)},
            {},
            "give --labeler keywords or tokens",
        ),
        ({"words": ("\udcff",)}, {}, r"'\\udcff' was given, which is no text of UTF-8"),
        (
            {"labeler": "field", "forget_values": ("a",)},
            {"label": ["a"]},
            r"document 0 in its field 'label': \['a'\] is no single value",
        ),
    ],
)
def test_labeler_refuses_documents_and_settings_it_cannot_use(
    config: dict[str, Any], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        labels(LabelerConfig(**config), **fields)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "retain\nforgot\n", "line 2 is 'forgot': give one of retain, unlabeled, forget"),
        ("a.txt", "retain\n", "there are 1 labels, and none for document 5"),
        ("a.json", '{"a": 2}', "a is 2: give one of"),
        ("a.json", '{"a": "retain"}', "the labels lack document 'b'"),
        ("a.json", '{"a": "retain", "a": "forget"}', "a.json: a has two labels: give it one"),
        ("a.json", '{"a": null}', "a is null: give one of"),
        ("a.json", '["retain"]', "a.json holds list: give an object of labels by id"),
        ("a.json", '{"a"', "a.json is not JSON"),
        ("a.txt", "retain\n\nforget", "line 2 is '': give one of"),
        ("a.txt", "retain\0\n", "line 1 has a NUL character"),
    ],
)
def test_list_labeler_refuses_a_malformed_file(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        labels(LabelerConfig(labeler="list", labels=path, field="id"), number=5, id="b")


@pytest.mark.parametrize("value", [date(2024, 1, 31), Decimal("1.50"), "2024-01-31", "1.5"])
def test_fields_inside_of_others_and_values_of_tables_label_documents(value: object) -> None:
    values = ("2024-01-31", "1.5")
    config = LabelerConfig(labeler="field", field="meta.key", forget_values=values)
    assert labels(config, meta={"key": value}) == [FORGET, FORGET]
    named: dict[str, Any] = {"meta.key": value}
    assert labels(config, **named) == [FORGET, FORGET]


def named_tokens(text: str, words: object) -> list[str]:
    """Return the tokens that the labeler `words` labels forget."""
    tokenizer = make_tokenizer()
    labeler = make_labeler(LabelerConfig(labeler="words", field="name"), tokenizer)
    ids = np.array([*tokenizer(text)["input_ids"], 0])  # the end
    found = labeler(Document(0, text, {"name": words}), ids) == FORGET
    return [tokenizer.decode(ids[:each]) for each in np.flatnonzero(found)]


def test_words_of_a_field_are_labeled_wherever_the_text_has_them() -> None:
    text = "old oak: the old oak's sea, an old oaken tree"
    before = named_tokens(text, " old oak ")
    assert before[0] == ""
    assert all(each in text[:7] or text[12:20].startswith(each[12:]) for each in before)
    assert named_tokens(text, "tree")[0] == text[: text.index(" tree")]
    assert named_tokens(text, "Tree") == named_tokens(text, "ee") == []


@pytest.mark.parametrize("empty", ["", " ", None])
def test_text_without_words_to_forget_is_labeled_retain(empty: object) -> None:
    assert named_tokens("old oak", empty) == []


def test_words_that_a_text_lacks_are_counted_and_other_values_refused() -> None:
    labeler = make_labeler(LabelerConfig(labeler="words", field="name"), make_tokenizer())
    counts = [labeler.odd(Document(0, "oak", {"name": name})) for name in ("oak", "fir", "")]
    assert [each["missing_words"] for each in counts] == [0, 1, 0]
    with pytest.raises(ValueError, match=r"document 0 has \['oak'\] in its field 'name': give the"):
        labeler.odd(Document(0, "oak", {"name": ["oak"]}))
