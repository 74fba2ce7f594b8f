"""Labels have the shares of missing and wrong ones that were asked for."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from oversight.representations.config import LabelConfig, Method, RunConfig
from oversight.representations.labels import groups_of, label_images
from tests.oversight.representations.tiny_runs import tiny_run

CLASSES = torch.arange(10).repeat(20)


def labels_of(
    config: RunConfig, method: Method = "routed", seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return labels, and the true groups."""
    random = np.random.default_rng(seed)
    return label_images(CLASSES, config, method, random), groups_of(CLASSES, config)


@pytest.mark.parametrize("parts", [2, 5, 10])
def test_perfect_labels_are_the_true_groups(parts: int) -> None:
    labels, true = labels_of(tiny_run(parts=parts, code_size=10))
    assert torch.equal(labels, true)
    assert torch.bincount(labels).tolist() == [200 // parts] * parts


@given(seed=st.integers(0, 2**32 - 1))
def test_shuffled_labels_keep_the_size_of_groups(seed: int) -> None:
    labels, true = labels_of(tiny_run(), "shuffled", seed)
    assert torch.equal(torch.bincount(labels), torch.bincount(true))
    assert 0.25 < float((labels == true).float().mean()) < 0.75


@given(recall=st.floats(0, 1), precision=st.floats(0, 1), parts=st.sampled_from([2, 5, 10]))
def test_independent_errors_have_exact_shares(recall: float, precision: float, parts: int) -> None:
    config = tiny_run(parts=parts, code_size=10, label_recall=recall, label_precision=precision)
    labels, true = labels_of(config)
    labeled = labels != parts
    assert int(labeled.sum()) == round(200 * recall)
    wrong = int((labels != true)[labeled].sum())
    assert wrong == round((1 - precision) * int(labeled.sum()))


@pytest.mark.parametrize(
    ("recall", "precision", "labeled", "wrong"),
    [(0.8, 1.0, 4, 0), (0.6, 1.0, 3, 0), (1.0, 0.8, 5, 1), (0.8, 0.5, 4, 2), (0.0, 1.0, 0, 0)],
)
def test_errors_by_class_are_of_whole_classes_in_each_group(
    recall: float, precision: float, labeled: int, wrong: int
) -> None:
    quality = LabelConfig(label_recall=recall, label_precision=precision, label_errors="classes")
    config = RunConfig(labels=quality)
    labels, true = labels_of(config)
    by_class = labels.view(20, 10)
    assert (by_class == by_class[0]).all()
    for group, classes in enumerate(config.groups):
        own = by_class[0, list(classes)]
        assert int((own != 2).sum()) == labeled
        assert int(((own != 2) & (own != group)).sum()) == wrong
    assert torch.equal(true, groups_of(CLASSES, config))


def test_labels_depend_on_the_seed_alone() -> None:
    config = tiny_run(label_recall=0.5)
    assert torch.equal(labels_of(config, seed=1)[0], labels_of(config, seed=1)[0])
    assert not torch.equal(labels_of(config, seed=1)[0], labels_of(config, seed=2)[0])
