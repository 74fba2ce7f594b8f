"""Labelers follow their rules, and errors name documents that cannot be labeled."""

import json
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


@pytest.mark.parametrize(
    ("score", "label"),
    [(0.19, RETAIN), (0.2, UNLABELED), (0.8, UNLABELED), (0.81, FORGET), (1, FORGET)],
)
def test_scores_are_labeled_by_two_thresholds(score: float, label: int) -> None:
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
    ("config", "fields", "message"),
    [
        ({"labeler": "field", "forget_values": ("a",)}, {}, "document 0 has no field 'label'"),
        ({"labeler": "scores"}, {"label": "high"}, "has the score 'high' in its field 'label'"),
        ({"labeler": "scores"}, {"label": float("nan")}, "has the score nan"),
        ({"labeler": "scores"}, {"label": True}, "has the score True"),
        ({"words": (" ",)}, {}, "no words were given"),
        ({"labeler": "tokens", "words": ("xqzkj",)}, {}, "is one token of this tokenizer"),
        ({"labeler": "field"}, {}, "needs --forget-values"),
        ({"labeler": "list"}, {}, "needs --labels"),
        ({"low": 0.9, "high": 0.1}, {}, "high is below low"),
        ({"forget_values": ("a",), "retain_values": ("a",)}, {}, "to forget and to retain"),
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
    ],
)
def test_list_labeler_refuses_a_malformed_file(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        labels(LabelerConfig(labeler="list", labels=path, field="id"), number=5, id="b")
