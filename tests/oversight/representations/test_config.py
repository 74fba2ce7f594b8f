"""Groups of classes and parts of the code, and settings that are refused."""

from typing import Any

import pytest

from oversight.representations.config import LabelConfig, RunConfig, StudyConfig
from oversight.runs.cli import override


@pytest.mark.parametrize("parts", [2, 5, 10])
def test_groups_divide_all_classes_into_equal_sizes(parts: int) -> None:
    groups = RunConfig(parts=parts).groups
    assert [each for group in groups for each in group] == list(range(10))
    assert {len(group) for group in groups} == {10 // parts}


@pytest.mark.parametrize(("parts", "code_size"), [(2, 32), (10, 32), (5, 5), (10, 19)])
def test_part_sizes_fill_the_code_and_differ_by_one_at_most(parts: int, code_size: int) -> None:
    sizes = RunConfig(parts=parts, code_size=code_size).part_sizes
    assert sum(sizes) == code_size
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 1


def test_names_of_single_classes_are_digits() -> None:
    assert RunConfig(parts=10).group_names == tuple("0123456789")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"parts": 10, "code_size": 9}, "a code too small for its parts"),
        ({"parts": 3}, "2, 5 or 10 equal groups"),
        ({"parts": 1}, "2, 5 or 10 equal groups"),
        ({"l1": (1.0, 1.0, 1.0)}, "one weight for all, or one for each"),
        ({"l1": (-1.0,)}, "0 or more"),
        ({"hidden_sizes": ()}, "one or more whole numbers"),
        ({"batch_size": 1}, "2 images or more"),
        ({"routed_groups": (2,)}, "numbered from 0 to 1"),
        ({"trained_groups": (1, 1)}, "each once"),
        ({"separate_decoders": True, "label_recall": 0.5}, "label of every image"),
        ({"label_precision": 1.5}, r"a number in \[0, 1\]"),
        ({"learning_rate": 0.0}, "positive"),
    ],
)
def test_settings_that_cannot_run_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        override(RunConfig(), values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seeds": (1, 1)}, "each once"),
        ({"method": ()}, "one or more"),
        ({"recalls": (2.0,)}, r"a number in \[0, 1\]"),
        ({"sweep": "labels", "label_recall": 0.5}, "leave --label-recall"),
        ({"sweep": "tax", "separate_decoders": True}, "leave one of the two out"),
    ],
)
def test_studies_that_cannot_run_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        override(StudyConfig(), values)


def test_default_labels_are_perfect() -> None:
    assert (LabelConfig().label_recall, LabelConfig().label_precision) == (1.0, 1.0)
