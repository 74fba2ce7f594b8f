"""Benchmarks by name, of a hub that a test stands in for."""

from typing import Any

import pytest

from lm.benchmarks.questions import BENCHMARKS, Question, load_benchmark

datasets = pytest.importorskip("datasets")

CHOICES = ["one", "two", "three", "four"]


def record(subject: str | None, answer: int = 2) -> dict[str, Any]:
    told = {} if subject is None else {"subject": subject}
    return {"question": f"on {subject}", "choices": CHOICES, "answer": answer, **told}


HUB = {
    ("cais/wmdp", "wmdp-bio", "test"): [record(None)],
    ("cais/mmlu", "all", "test"): [record("anatomy"), record("virology"), record("sociology")],
    ("cais/mmlu", "all", "dev"): [record("anatomy", 0), record("virology"), record("anatomy", 1)],
    ("cais/mmlu", "anatomy", "test"): [record("anatomy")],
    ("cais/mmlu", "anatomy", "dev"): [record("anatomy", 3)],
    ("cais/wmdp", "wmdp-chem", "test"): [record(None), record(None, 4)],
}


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a hub of our own in the place of the real one."""

    def load(dataset: str, subset: str, *, split: str) -> Any:  # noqa: ANN401
        if (dataset, subset, split) not in HUB:
            raise ConnectionError("no such host\nand more")
        return datasets.Dataset.from_list(HUB[dataset, subset, split])

    monkeypatch.setattr(datasets, "load_dataset", load)


def test_questions_of_wmdp_are_about_its_topic() -> None:
    found = load_benchmark("wmdp-bio")
    assert found.questions == (Question("on None", tuple(CHOICES), 2, "biology"),)
    assert not found.examples


@pytest.mark.parametrize(
    ("name", "subjects"),
    [
        ("mmlu", ["anatomy", "virology", "sociology"]),
        ("mmlu-stem", ["anatomy"]),
        ("mmlu-other", ["virology"]),
        ("mmlu-anatomy", ["anatomy"]),
    ],
)
def test_mmlu_is_whole_or_by_category_or_by_subject(name: str, subjects: list[str]) -> None:
    assert [each.subject for each in load_benchmark(name).questions] == subjects


def test_examples_of_mmlu_are_in_the_order_of_the_hub() -> None:
    found = load_benchmark("mmlu")
    assert [example.answer for example in found.examples["anatomy"]] == [0, 1]
    assert [example.answer for example in load_benchmark("mmlu-anatomy").examples["anatomy"]] == [3]


def test_there_are_57_subjects_in_four_categories() -> None:
    assert len(BENCHMARKS) == 3 + 1 + 4 + 57


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("wmdp-cyber", "cais/wmdp cannot be read .no such host.: check the network"),
        ("wmdp-chem", "cais/wmdp, wmdp-chem, test, record 1: its answer is 4"),
        ("wmdp-boi", "neither a file nor a benchmark: did you mean wmdp-bio"),
        ("qqq", "neither a file nor a benchmark: give the path .* mmlu-stem"),
    ],
)
def test_what_cannot_be_loaded_is_refused(name: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        load_benchmark(name)
