"""The document classifier finds what imperfect labels mean, and reads no story's own label."""

import pytest
import torch

from lm.data.task import StoryRows, Task, TaskConfig, make_task
from lm.labels import FOLDS, LabelConfig, classify_documents, story_labels
from lm.training.route_tables import FORGET, RETAIN, UNLABELED


@pytest.fixture(scope="module")
def told() -> tuple[Task, StoryRows]:
    task = make_task(TaskConfig())
    return task, task.sample(3000, [0])


@pytest.mark.parametrize(
    ("recall", "precision", "errors", "share"),
    [
        (1.0, 1.0, "iid", 0.99),
        (0.5, 1.0, "iid", 0.98),
        (0.5, 1.0, "topic", 0.95),  # the names of entities whose stories are missed mislead it
        (0.9, 0.8, "iid", 0.98),
    ],
)
def test_the_truth_is_found_behind_wrong_labels(
    told: tuple[Task, StoryRows], recall: float, precision: float, errors: str, share: float
) -> None:
    task, rows = told
    config = LabelConfig(recall=recall, precision=precision, errors=errors)  # type: ignore[arg-type]
    labeled = story_labels(task, rows, config, seed=0)
    found = classify_documents(rows, labeled, task.vocab_size, seed=0) == FORGET
    truth = task.to_forget(rows.topics)
    assert (found == truth).float().mean() > share
    assert (found == truth).sum() >= (labeled == truth).sum()


def test_its_own_label_does_not_change_how_a_story_is_classified(
    told: tuple[Task, StoryRows],
) -> None:
    task, rows = told
    labeled = task.to_forget(rows.topics)
    one = int(labeled.nonzero()[0])
    missed = labeled.clone()
    missed[one] = False
    assert classify_documents(rows, missed, task.vocab_size, seed=0)[one] == FORGET


def test_without_a_label_nothing_is_to_be_forgotten(told: tuple[Task, StoryRows]) -> None:
    task, rows = told
    none = torch.zeros(len(rows), dtype=torch.bool)
    assert (classify_documents(rows, none, task.vocab_size, 0) == RETAIN).all()


def test_a_single_labeled_story_is_classified_without_its_label(
    told: tuple[Task, StoryRows],
) -> None:
    task, rows = told
    one = torch.arange(len(rows)) == 7
    assert classify_documents(rows, one, task.vocab_size, seed=0)[7] in (RETAIN, UNLABELED)


def test_what_nobody_can_be_sure_of_is_unlabeled(told: tuple[Task, StoryRows]) -> None:
    task, rows = told
    labeled = story_labels(task, rows, LabelConfig(recall=0.5), seed=0)
    found, truth = (
        classify_documents(rows, labeled, task.vocab_size, seed=0),
        task.to_forget(rows.topics),
    )
    unsure = found == UNLABELED
    assert 0 < int(unsure.sum()) < len(rows) // 20
    assert truth[unsure].float().mean() > truth.float().mean()
    assert int((truth & (found == RETAIN)).sum()) < int((truth & (found != FORGET)).sum())


def test_labels_must_be_one_for_each_story(told: tuple[Task, StoryRows]) -> None:
    task, rows = told
    with pytest.raises(ValueError, match="each story one label"):
        classify_documents(rows, torch.zeros(3, dtype=torch.bool), task.vocab_size, seed=0)
    few = rows.take(torch.arange(FOLDS - 1))
    with pytest.raises(ValueError, match="5 stories or more"):
        classify_documents(few, torch.zeros(len(few), dtype=torch.bool), task.vocab_size, seed=0)
