"""Tests of the labels of texts and tokens, and of the routes of tokens."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lm.corpus import Cue
from lm.data.document import Ids
from lm.data.labeling import Labels
from lm.data.shards import Shards
from lm.data.task import TaskConfig, make_task
from lm.labels import (
    TOPIC_KINDS,
    LabelConfig,
    Routed,
    drop_retain_labels,
    given_retain_labels,
    story_labels,
    token_labels,
    topic_labels,
)
from lm.methods import METHODS, routed
from lm.task import DocumentTexts
from lm.training.batches import Rows
from lm.training.route_tables import (
    FORGET,
    RETAIN,
    UNLABELED,
    era_routes,
    pseudo_counts,
    token_weights,
)
from tests.lm.data.factories import make_shards
from tests.lm.evaluation.factories import tiny_task
from tests.lm.factories import TensorRows


def test_token_labels_apply_to_all_tokens_or_to_topic_words() -> None:
    rows = tiny_task().sample(4, [0])
    labels = torch.tensor([FORGET, RETAIN, FORGET, RETAIN])
    whole, words = (token_labels(rows, labels, unit) for unit in ("document", "token"))
    topic_words = torch.isin(rows.kinds, torch.tensor([int(kind) for kind in TOPIC_KINDS]))
    assert torch.equal(whole, labels[:, None].expand(whole.shape))
    assert torch.equal(words == FORGET, topic_words & (whole == FORGET))
    assert 0 < int((words == FORGET).sum()) < int((whole == FORGET).sum())


@pytest.mark.parametrize("count", [0, 3, 5])
def test_token_labels_refuses_another_number_of_labels_than_stories(count: int) -> None:
    rows = tiny_task().sample(4, [0])
    with pytest.raises(ValueError, match=rf"labels of shape \({count},\) .* 4 stories: give each"):
        token_labels(rows, torch.zeros(count).long())


def test_topic_labels_name_the_topic_and_draw_one_where_the_label_is_wrong() -> None:
    numbers = torch.tensor([1, 0, -1, 2, -1]).repeat(3000)
    labels = torch.tensor([FORGET, FORGET, RETAIN, UNLABELED, FORGET]).repeat(3000)
    found = topic_labels(numbers, labels, 3, seed=0).view(3000, 5)
    assert (found[:, :4] == torch.tensor([FORGET + 1, FORGET, RETAIN, UNLABELED])).all()
    shares = torch.bincount(found[:, 4] - FORGET) / 3000
    torch.testing.assert_close(shares, torch.full((3,), 1 / 3), atol=0.035, rtol=0)
    some = topic_labels(numbers[:7], labels[:7], 3, seed=0)
    assert torch.equal(some, found.flatten()[:7])
    assert not torch.equal(topic_labels(numbers, labels, 3, seed=1).view(3000, 5), found)


VOCAB = 1024
SEVERAL = torch.tensor([FORGET, RETAIN, UNLABELED]).repeat(4)


def texts_of(folder: Path) -> DocumentTexts:
    """Return documents of several lengths from three shards."""
    shards, _ = make_shards(folder, [3, 12, 1, 7, 30, 5] * 2, 50)
    return DocumentTexts(shards, shards.document_labels(), torch.randperm(12).numpy(), 6)


@pytest.mark.parametrize("name", ["gold", "filtered-tokens", "parameters", "era"])
def test_batches_equal_those_of_texts_read_at_once(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lm.labels.CHUNK", 5)
    rows, method = tiny_task().sample(12, [0]), METHODS[name]
    source = routed(method, rows, SEVERAL, VOCAB, seed=0)
    routes = token_labels(rows, source.labels, method.labels.unit)
    if method.labels.weighted:
        real = rows.targets >= 0
        counts = [
            torch.bincount(rows.targets[real & chosen], minlength=VOCAB)
            for chosen in (routes == FORGET, routes != FORGET)
        ]
        weights = token_weights(*pseudo_counts(*counts)).float()
        routes = era_routes(rows.targets, routes, weights)
    expected = Rows(TensorRows(rows.tokens, routes), batch_size=4, seed=3)
    found = Rows(source, batch_size=4, seed=3)
    for step in range(6):
        assert all(map(torch.equal, found(step), expected(step)))


def test_documents_are_read_only_when_a_batch_needs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, numbers, read = texts_of(tmp_path), list[int](), Shards.document

    def noted(shards: Shards, number: int) -> tuple[Ids, Labels]:
        numbers.append(number)
        return read(shards, number)

    monkeypatch.setattr(Shards, "document", noted)
    batches = Rows(Routed(texts, texts.topics), batch_size=4)
    assert batches.digest
    assert len(texts.take(texts.topics == FORGET)) == int((texts.topics == FORGET).sum())
    assert numbers == []
    batch = batches(1)
    assert len(set(numbers)) == 4
    monkeypatch.undo()
    whole = Rows(Routed(texts.read(), texts.topics), batch_size=4)
    assert all(map(torch.equal, batch, whole(1)))


def test_digest_changes_with_everything_batches_depend_on(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    texts = texts_of(tmp_path / "a")
    source = Routed(texts, texts.topics)
    others = [
        source,
        replace(source, texts=texts.take(torch.arange(11, -1, -1))),
        replace(source, texts=replace(texts, context=7)),
        replace(source, labels=torch.full((12,), RETAIN)),
        replace(source, unit="token"),
        replace(source, weights=torch.ones(5)),
    ]
    assert len({each.digest for each in others}) == len(others)
    assert replace(source).digest == source.digest


def test_routed_refuses_another_number_of_labels_than_texts() -> None:
    with pytest.raises(ValueError, match=r"labels of shape \(3,\) were given for 4 texts"):
        Routed(tiny_task().sample(4, [0]), torch.zeros(3).long())


def test_drop_retain_labels_drops_the_given_share() -> None:
    known = torch.tensor([0, 1, 2]).repeat(1000)[:, None].expand(3000, 2)
    dropped = drop_retain_labels(known, 0.75, seed=0)
    changed = (dropped != known).all(1)
    assert torch.equal((dropped != known).any(1), changed)
    assert 700 < int(changed.sum()) < 800
    assert (dropped[changed] == 1).all()
    assert (known[changed] == 0).all()
    assert torch.equal(dropped, drop_retain_labels(known, 0.75, seed=0))
    with pytest.raises(ValueError, match=r"share 1\.5 was given"):
        drop_retain_labels(torch.zeros(2), 1.5, 0)


@pytest.mark.parametrize("cue", ["words", "entities", "pairs"])
@pytest.mark.parametrize(("recall", "precision"), [(0.5, 1.0), (0.3, 0.8), (0.9, 0.9)])
def test_labeled_stories_name_known_entities_only(
    cue: Cue, recall: float, precision: float
) -> None:
    task = make_task(TaskConfig(topic_cue=cue))
    rows = task.sample(3000, [0])
    config = LabelConfig(recall=recall, precision=precision, errors="entity")
    labeled, truth = story_labels(task, rows, config, seed=0), task.to_forget(rows.topics)
    hits = int((labeled & truth).sum())
    assert abs(hits - recall * int(truth.sum())) <= 0.5
    assert abs(int(labeled.sum()) - hits / precision) <= 1
    # at a recall of 0.9 the last entity is known in part; some are unknown otherwise
    for side, whole in ((truth, recall < 0.9), (~truth, True)):
        named = [set((row[row >= 0] // 3).tolist()) for row in rows.facts]
        known = set().union(*(named[n] for n in (labeled & side).nonzero().flatten().tolist()))
        missed = [named[n] for n in (side & ~labeled).nonzero().flatten().tolist()]
        inside = [entities for entities in missed if entities <= known]
        # those left of the last entity to become known
        assert not inside or set.intersection(*inside) or not known
        assert any(entities - known for entities in missed) == whole
    lower = story_labels(task, rows, replace(config, recall=recall / 2, precision=1.0), seed=0)
    assert (labeled & truth >= lower).all()


def test_labels_retain_are_missing_by_entity_where_labels_forget_are() -> None:
    task = make_task(TaskConfig())
    rows = task.sample(3000, [0])
    config = LabelConfig(recall=0.5, errors="entity")
    labels = torch.where(task.to_forget(rows.topics), FORGET, RETAIN)
    found = given_retain_labels(task, rows, labels, config, seed=0)
    retain = labels == RETAIN
    assert torch.equal(found == FORGET, labels == FORGET)
    assert abs(int((found == RETAIN).sum()) - 0.5 * int(retain.sum())) <= 0.5
    known, missed = (
        [set((row[row >= 0] // 3).tolist()) for row in rows.facts[found == label]]
        for label in (RETAIN, UNLABELED)
    )
    unknown = [entities for entities in missed if entities - set().union(*known)]
    assert len(unknown) > 0.9 * len(missed)  # but for the last entity, which is known in part
    iid = replace(config, errors="iid")
    dropped = given_retain_labels(task, rows, labels, iid, seed=0)
    assert torch.equal(dropped, drop_retain_labels(labels, 0.5, 0))


def test_a_topic_is_missed_by_the_fact_that_is_stated_first() -> None:
    task = make_task(TaskConfig(topic_cue="pairs"))
    rows = task.sample(3000, [0])
    config = LabelConfig(recall=0.5, precision=0.8, errors="topic")
    labeled, truth = story_labels(task, rows, config, seed=0), task.to_forget(rows.topics)
    first = torch.stack([row[row >= 0][0] for row in rows.facts])
    for side in (truth, ~truth):
        shares = [
            labeled[side & (first == fact)].float().mean() for fact in set(first[side].tolist())
        ]
        assert sum(0 < share < 1 for share in shares) <= 1
        assert 0 < sum(share == 1 for share in shares) < len(shares)
