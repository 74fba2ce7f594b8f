"""Texts get their routes as they are read: those of reading all at once."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lm.data.document import Ids
from lm.data.labeling import Labels
from lm.data.shards import Shards
from lm.datasets import DocumentTexts
from lm.labels import Routed, token_labels
from lm.methods import METHODS, routed
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

VOCAB = 1024
SEVERAL = torch.tensor([FORGET, RETAIN, UNLABELED]).repeat(4)


def texts_of(folder: Path) -> DocumentTexts:
    """Return documents of several lengths, out of three shards."""
    shards, _ = make_shards(folder, [3, 12, 1, 7, 30, 5] * 2, 50)
    return DocumentTexts(shards, shards.document_labels(), torch.randperm(12).numpy(), 6)


@pytest.mark.parametrize("name", ["gold", "filtered-tokens", "parameters", "era"])
def test_batches_are_those_of_texts_that_were_read_at_once(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lm.labels.TOGETHER", 5)
    rows, method = tiny_task().sample(12, [0]), METHODS[name]
    source = routed(method, rows, SEVERAL, VOCAB, seed=0)
    routes = token_labels(rows, source.labels, method.unit)
    if method.weighted:
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


def test_documents_are_read_when_a_batch_is_and_no_others(
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


def test_what_batches_depend_on_changes_their_digest(tmp_path: Path) -> None:
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


def test_more_or_fewer_labels_than_texts_are_refused() -> None:
    with pytest.raises(ValueError, match=r"labels of shape \(3,\) were given for 4 texts"):
        Routed(tiny_task().sample(4, [0]), torch.zeros(3).long())
