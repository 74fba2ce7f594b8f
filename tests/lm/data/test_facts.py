"""Facts are read from their sources, stated, asked and divided."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm.data.facts import (
    CHOICES,
    TOPICS,
    Fact,
    choose,
    classes_of_animals,
    distinct_facts,
    halves_of,
    questions_about,
    read_facts,
    texts_of,
)
from tests.lm.data.fact_factories import CAPITALS, write_wordnet

SEEDS = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize(
    ("topic", "package", "fact", "least"),
    [
        ("capitals", "countryinfo", Fact("France", "Paris"), 150),
        ("elements", "periodictable", Fact("iron", "Fe"), 118),
    ],
)
def test_packages_hold_the_facts(topic: str, package: str, fact: Fact, least: int) -> None:
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    facts = read_facts(topic)
    assert fact in facts
    assert len({each.subject for each in facts}) == len(facts) >= least


def test_animals_have_the_class_of_their_nearest_ancestor(tmp_path: Path) -> None:
    folder = write_wordnet(tmp_path)
    assert list(classes_of_animals(folder / "data.noun", folder / "cntlist.rev")) == [
        ("robin", "birds"),
        ("house cat", "mammals"),
    ]


def test_folder_of_wordnet_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WNSEARCHDIR", str(write_wordnet(tmp_path)))
    assert read_facts("animals") == [Fact("house cat", "mammals"), Fact("robin", "birds")]


def test_missing_sources_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WNSEARCHDIR", str(tmp_path / "none"))
    with pytest.raises(ValueError, match=r"animals cannot be read \(.*apt-get install wordnet"):
        read_facts("animals")
    with pytest.raises(ValueError, match="unknown topic 'rivers': choose from capitals, "):
        read_facts("rivers")


def test_facts_that_name_themselves_or_have_several_answers_are_left_out() -> None:
    pairs = [("Mexico", "Mexico City"), ("Peru", "Lima"), ("Chad", None), ("Bolivia", "La Paz")]
    again = [*pairs, ("Bolivia", "Sucre"), ("Ohio", "Lima"), ("iron", "Fe"), ("neon", "Ne")]
    assert distinct_facts(again) == [Fact("iron", "Fe"), Fact("neon", "Ne")]
    assert distinct_facts([("cat", "mammals"), ("dog", "mammals")]) == []
    assert len(distinct_facts([("cat", "mammals"), ("dog", "mammals")], shared=True)) == 2


@pytest.mark.parametrize("topic", TOPICS)
def test_each_fact_is_stated_in_ten_different_ways(topic: str) -> None:
    records = texts_of(topic, [Fact("ostrich", "Tallinn")])
    assert len({record["text"] for record in records}) == len(records) == 10
    for record in records:
        assert "ostrich" in record["text"].lower()
        assert "Tallinn" in record["text"]
        assert (record["fact"], record["answer"]) == ("ostrich", "Tallinn")


@given(SEEDS)
def test_questions_have_the_right_answer_among_different_choices(seed: int) -> None:
    records = questions_about("capitals", CAPITALS, seed)
    assert records == questions_about("capitals", CAPITALS, seed)
    for fact, record in zip(CAPITALS, records, strict=True):
        assert len(set(record["choices"])) == CHOICES
        assert record["choices"][record["answer"]] == fact.answer
        assert record["statement"] == f"The capital of {fact.subject} is"
        assert {"question", "choices", "answer", "subject", "statement"} == set(record)


def test_right_choices_stand_in_all_places_alike() -> None:
    facts = [Fact(f"land {n}", f"town {n}") for n in range(400)]
    places = [record["answer"] for record in questions_about("capitals", facts, 0)]
    assert all(70 < places.count(place) < 130 for place in range(CHOICES))


def test_too_few_answers_are_refused() -> None:
    with pytest.raises(ValueError, match="the 3 facts about capitals have 3 answers"):
        questions_about("capitals", CAPITALS[:3], 0)
    with pytest.raises(ValueError, match="9 facts of a topic were asked for, and one has 6"):
        choose(CAPITALS, 9, 0)


@given(SEEDS, st.integers(1, len(CAPITALS)))
def test_halves_share_no_fact_and_together_are_all(seed: int, count: int) -> None:
    facts = choose(CAPITALS, count, seed)
    assert len(set(facts)) == count
    first, second = halves_of(facts, seed).values()
    assert sorted([*first, *second]) == sorted(facts)
    assert len(first) - len(second) in (0, 1)
    assert halves_of(facts, seed) == {"first": first, "second": second}
    assert choose(CAPITALS, None, seed) == CAPITALS


def test_completion_is_the_name_of_a_fact_that_its_text_has_last() -> None:
    for record in texts_of("capitals", CAPITALS):
        names = {record["fact"], record["answer"]}
        (other,) = names - {record["completion"]}
        assert record["text"].rindex(record["completion"]) > record["text"].rindex(other)
