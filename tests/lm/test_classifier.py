"""Tests of the document classifier: what it corrects, and when its labels are not used."""

import tracemalloc
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from lm.classifier import (
    BUCKETS,
    FOLDS,
    Quality,
    _present,
    classify_documents,
    features,
    quality_lines,
    quality_sentence,
)
from lm.config import RunConfig
from lm.corpus import Cue
from lm.data.task import StoryRows, Task, TaskConfig, make_task
from lm.labels import LabelConfig, story_labels
from lm.task import StoryTask
from lm.training.route_tables import FORGET, RETAIN, UNLABELED
from lm.training_data import make_training_data
from tests.benchmarks.topic_cues import Benchmark, aucs


@pytest.fixture(scope="module")
def stories() -> tuple[Task, StoryRows]:
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
def test_classifier_recovers_the_truth_from_noisy_labels(
    stories: tuple[Task, StoryRows], recall: float, precision: float, errors: str, share: float
) -> None:
    task, rows = stories
    config = LabelConfig(recall=recall, precision=precision, errors=errors)  # type: ignore[arg-type]
    labeled = story_labels(task, rows, config, seed=0)
    found = classify_documents(rows, labeled, task.vocab_size, seed=0).labels == FORGET
    truth = task.to_forget(rows.topics)
    assert (found == truth).float().mean() > share
    assert (found == truth).sum() >= (labeled == truth).sum()


def test_story_is_classified_without_its_own_label(
    stories: tuple[Task, StoryRows],
) -> None:
    task, rows = stories
    labeled = task.to_forget(rows.topics)
    one = int(labeled.nonzero()[0])
    missed = labeled.clone()
    missed[one] = False
    assert classify_documents(rows, missed, task.vocab_size, seed=0).labels[one] == FORGET


def test_classifier_labels_nothing_forget_without_forget_labels(
    stories: tuple[Task, StoryRows],
) -> None:
    task, rows = stories
    none = torch.zeros(len(rows), dtype=torch.bool)
    assert (classify_documents(rows, none, task.vocab_size, 0).labels == RETAIN).all()


def test_a_single_labeled_story_is_classified_without_its_label(
    stories: tuple[Task, StoryRows],
) -> None:
    task, rows = stories
    one = torch.arange(len(rows)) == 7
    assert classify_documents(rows, one, task.vocab_size, seed=0).labels[7] in (RETAIN, UNLABELED)


@pytest.mark.parametrize(("recall", "share"), [(1.0, 0.97), (0.5, 0.93)])
def test_classifier_predicts_the_topic_where_there_are_several(recall: float, share: float) -> None:
    task = make_task(TaskConfig(forget=("forest", "sea", "castle")))
    rows = task.sample(3000, [0])
    labeled = story_labels(task, rows, LabelConfig(recall=recall), seed=0)
    numbers = task.forget_numbers(rows.topics)
    found = classify_documents(rows, labeled * (numbers + 1), task.vocab_size, seed=0)
    truth = torch.where(numbers < 0, RETAIN, FORGET + numbers)
    assert (found.labels == truth).float().mean() > share
    assert found.quality.flaw is None
    counts = torch.bincount(numbers[labeled])
    assert (found.quality.given, found.quality.rarest) == (int(counts.sum()), int(counts.min()))
    assert found.quality.marked["forget"] == int((found.labels >= FORGET).sum())


def test_one_topic_is_classified_as_forget_labels_are(stories: tuple[Task, StoryRows]) -> None:
    task, rows = stories
    labeled = story_labels(task, rows, LabelConfig(recall=0.5), seed=0)
    one, other = (classify_documents(rows, x, task.vocab_size, 0) for x in (labeled, labeled.int()))
    assert torch.equal(one.labels, other.labels)
    assert one.quality == other.quality
    assert one.quality.rarest is None


def test_labels_are_not_used_when_a_topic_has_none(stories: tuple[Task, StoryRows]) -> None:
    task, rows = stories
    second = task.to_forget(rows.topics) * 2  # no text is labeled with the first topic
    quality = classify_documents(rows, second, task.vocab_size, seed=0).quality
    assert quality.flaw == "a topic has no labeled text"


def test_uncertain_predictions_are_unlabeled(stories: tuple[Task, StoryRows]) -> None:
    task, rows = stories
    labeled = story_labels(task, rows, LabelConfig(recall=0.5), seed=0)
    found, truth = (
        classify_documents(rows, labeled, task.vocab_size, seed=0).labels,
        task.to_forget(rows.topics),
    )
    unsure = found == UNLABELED
    assert 0 < int(unsure.sum()) < len(rows) // 20
    assert truth[unsure].float().mean() > truth.float().mean()
    assert int((truth & (found == RETAIN)).sum()) < int((truth & (found != FORGET)).sum())


def test_classifier_refuses_too_few_labels_or_stories(stories: tuple[Task, StoryRows]) -> None:
    task, rows = stories
    with pytest.raises(ValueError, match="each story one label"):
        classify_documents(rows, torch.zeros(3, dtype=torch.bool), task.vocab_size, seed=0)
    few = rows.take(torch.arange(FOLDS - 1))
    with pytest.raises(ValueError, match="5 stories or more"):
        classify_documents(few, torch.zeros(len(few), dtype=torch.bool), task.vocab_size, seed=0)


def test_quality_is_high_when_the_topic_has_its_own_words(stories: tuple[Task, StoryRows]) -> None:
    task, rows = stories
    for recall, precision, errors in ((0.5, 1.0, "iid"), (0.1, 1.0, "topic"), (0.9, 0.5, "iid")):
        config = LabelConfig(recall=recall, precision=precision, errors=errors)  # type: ignore[arg-type]
        labeled = story_labels(task, rows, config, seed=0)
        quality = classify_documents(rows, labeled, task.vocab_size, seed=0).quality
        assert quality.flaw is None
        assert quality.auc > 0.7
        assert quality.given == int(labeled.sum())
        assert sum(quality.marked.values()) == quality.texts == len(rows)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5])
@pytest.mark.parametrize("seed", [0, 1])
def test_labels_are_not_used_when_the_given_ones_are_random(
    stories: tuple[Task, StoryRows], share: float, seed: int
) -> None:
    task, rows = stories
    generator = torch.Generator().manual_seed(seed)
    labeled = torch.rand(len(rows), generator=generator) < share
    quality = classify_documents(rows, labeled, task.vocab_size, seed=0).quality
    assert 0.35 < quality.auc < 0.65
    assert quality.flaw is not None
    assert "its held-out AUC is" in quality.flaw


def test_labels_are_not_used_when_there_is_one_text_or_one_kind(
    stories: tuple[Task, StoryRows],
) -> None:
    task, rows = stories
    few = rows.take(torch.arange(40))
    for labeled in (torch.arange(40) == 7, torch.ones(40).bool(), torch.zeros(40).bool()):
        assert classify_documents(few, labeled, task.vocab_size, seed=0).quality.flaw is not None


def test_random_labels_stay_as_given_in_the_training_data(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = StoryTask(**vars(make_task(TaskConfig())))
    run = RunConfig(task=TaskConfig(stories=600))
    wanted = make_training_data(run, task, "modules-classified", 0)
    assert wanted.classifier is not None
    assert wanted.classifier.flaw is None
    drawn = torch.rand(728, generator=torch.Generator().manual_seed(0)) < 0.3
    monkeypatch.setattr("lm.training_data.story_labels", lambda *_: drawn)
    given = make_training_data(run, task, "modules", 0)
    kept = make_training_data(run, task, "modules-classified", 0)
    assert torch.equal(kept.labels, given.labels)
    assert torch.equal(kept.held_out.tokens, given.held_out.tokens)
    assert int((kept.labels == FORGET).sum()) == int(drawn[:600].sum())
    assert given.classifier is None
    assert kept.classifier is not None
    assert kept.classifier.as_result()["used"] is False


GOOD = Quality(auc=0.99, given=90, marked={"retain": 880, "unlabeled": 20, "forget": 100}, added=15)


@pytest.mark.parametrize(
    ("changed", "flaw"),
    [
        ({}, None),
        ({"auc": 0.69}, "AUC is 0.69, below 0.7"),
        ({"auc": 0.71, "given": 3}, "AUC of 0.71 may be chance on 3 labels"),
        ({"added": 500}, "it marked 500 of the 910 texts not labeled forget, more than 50%"),
        ({"given": 0}, "0 of 1000 texts are labeled forget"),
    ],
)
def test_flaw_names_what_is_below_the_stated_quality(
    changed: dict[str, float], flaw: str | None
) -> None:
    found = replace(GOOD, **changed).flaw  # type: ignore[arg-type]
    assert found is None if flaw is None else found is not None and flaw in found


def test_lines_tell_used_classifiers_and_warn_of_others() -> None:
    bad = replace(GOOD, auc=0.5)
    run = {"method": "modules-classified", "seed": 3, "label_recall": 0.9}
    used, kept = ({**run, "classifier": each.as_result()} for each in (GOOD, bad))
    assert quality_lines([used]) == [
        "labels: the classifier labeled 100 forget, 880 retain, 20 unlabeled, where 90 were "
        "labeled forget; its held-out AUC is 0.990."
    ]
    warning, several = quality_lines([used, kept, used, {"method": "gold"}])
    assert warning.startswith("warning: modules-classified, seed 3, label recall 0.9: the class")
    assert warning.endswith("and the given ones were kept: its held-out AUC is 0.50, below 0.7.")
    assert "of 2 runs labeled 1.11 to 1.11 times as many" in several
    assert "AUC is unknown" in quality_sentence({**bad.as_result(), "auc": None})


def test_memory_does_not_grow_with_the_vocabulary() -> None:
    tokens = torch.randint(0, 50_000, (2000, 65), generator=torch.Generator().manual_seed(0))
    empty = torch.full((2000, 64), -1)
    rows = StoryRows(tokens, empty, empty, torch.zeros(2000).long())
    tracemalloc.start()
    ones, columns, starts = _present(rows.inputs.numpy().astype(np.int32))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6  # 800 MB as a dense matrix
    for row in (0, 1999):
        assert columns[starts[row] : starts[row + 1]].tolist() == sorted(
            set(rows.inputs[row].tolist())
        )
    assert len(ones) == starts[-1] == len(columns)


@pytest.mark.parametrize(
    ("cue", "features", "known", "unknown"),
    [
        ("words", "tokens", True, True),
        ("entities", "tokens", True, False),
        ("entities", "words", True, False),
        ("pairs", "tokens", False, False),
        ("pairs", "words", False, False),
        ("pairs", "pairs of words", True, False),
    ],
)
def test_topic_is_told_by_its_cue_and_not_by_unknown_entities_where_words_are_shared(
    cue: Cue, features: str, known: bool, unknown: bool
) -> None:
    drawn = Benchmark(stories=4000, tested=600)
    worlds = [make_task(TaskConfig(topic_cue=cue, world_seed=seed)) for seed in range(3)]
    found = torch.tensor([aucs(task, features, drawn) for task in worlds]).mean(0)
    for auc, told in zip(found.tolist(), (known, unknown), strict=True):
        assert auc > 0.98 if told else 0.35 < auc < 0.65


def test_labels_are_not_used_where_no_word_tells_the_topic() -> None:
    task = make_task(TaskConfig(topic_cue="pairs"))
    rows = task.sample(3000, [0])
    for recall, precision in ((0.5, 1.0), (0.9, 0.8)):
        labeled = story_labels(task, rows, LabelConfig(recall=recall, precision=precision), seed=0)
        assert classify_documents(rows, labeled, task.vocab_size, 0).quality.flaw is not None


def test_a_classifier_of_pairs_finds_the_topic_that_pairs_tell() -> None:
    task = StoryTask(**vars(make_task(TaskConfig(topic_cue="pairs"))))
    run = RunConfig(task=TaskConfig(stories=3000), labels=LabelConfig(recall=0.5, reads="pairs"))
    data = make_training_data(run, task, "filtered-classified", 0)
    truth = task.to_forget(data.texts.topics)
    assert data.classifier is not None
    assert data.classifier.flaw is None
    assert ((data.labels == FORGET) == truth).float().mean() > 0.95


def test_features_are_the_tokens_and_pairs_that_a_text_has(stories: tuple[Task, StoryRows]) -> None:
    task, rows = stories
    few = rows.take(torch.arange(20))
    tokens, both = (features(few, task.vocab_size, reads) for reads in ("tokens", "pairs"))
    assert (both[:, : task.vocab_size] != tokens).nnz == 0
    for row, inputs in enumerate(few.inputs.tolist()):
        pairs = {(a * 1_000_003 + b) % BUCKETS for a, b in pairwise(inputs)}
        found = both[[row]].indices
        assert {int(n) - task.vocab_size for n in found if n >= task.vocab_size} == pairs
        assert {int(n) for n in found if n < task.vocab_size} == set(inputs)
