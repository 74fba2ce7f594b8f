"""Rows over shards are those of a slow reference, and each comes once in an epoch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lm.data.labelers import Labels
from lm.data.rows import Layout, ShardRows
from lm.data.vocabulary import Ids
from lm.model.cross_entropy import IGNORED
from tests.lm.data.made import make_shards

LENGTHS = (3, 12, 1, 7, 30, 5, 5, 9, 2, 16, 4)
Row = tuple[list[int], list[int]]


def one_each(made: list[tuple[Ids, Labels]], context: int) -> list[Row]:
    """Return the rows of documents, one in each."""
    rows = []
    for tokens, labels in made:
        cut, routes = tokens.tolist()[:context], labels.tolist()[:context]
        lacking = context - len(cut)
        rows.append(([0, *cut, *[IGNORED] * lacking], [*routes, *[0] * lacking]))
    return rows


def in_sequence(made: list[tuple[Ids, Labels]], shard_tokens: int, context: int) -> list[Row]:
    """Return the rows of documents in a sequence, one for each shard."""
    rows: list[Row] = []
    tokens, labels = [0], [0]
    for number, (own, theirs) in enumerate(made):
        tokens += own.tolist()
        labels += theirs.tolist()
        if len(tokens) > shard_tokens or number + 1 == len(made):
            starts = range(0, len(tokens) - context, context)
            rows += [(tokens[s : s + context + 1], labels[s + 1 : s + context + 1]) for s in starts]
            tokens, labels = [0], [0]
    return rows


@settings(max_examples=25, deadline=None)
@given(context=st.integers(1, 35), shard_tokens=st.integers(35, 100))
def test_rows_are_those_of_a_slow_reference(
    tmp_path_factory: pytest.TempPathFactory, context: int, shard_tokens: int
) -> None:
    shards, made = make_shards(tmp_path_factory.mktemp("shards"), LENGTHS, shard_tokens)
    expected: dict[Layout, list[Row]] = {
        "documents": one_each(made, context),
        "packed": in_sequence(made, shard_tokens, context),
    }
    for layout, rows in expected.items():
        read = ShardRows(shards, 1, context, layout)
        found = [tuple(part.tolist() for part in read.row(n)) for n in range(len(read))]
        assert found == rows


@pytest.mark.parametrize("layout", ["documents", "packed"])
def test_an_epoch_has_each_row_once_and_the_next_another_order(
    tmp_path: Path, layout: Layout
) -> None:
    shards, _ = make_shards(tmp_path, LENGTHS * 4, 50)
    rows = ShardRows(shards, 4, 6, layout, seed=3)
    steps = len(rows) // 4
    epochs = []
    for epoch in range(2):
        batches = [rows(epoch * steps + step) for step in range(steps)]
        tokens = [torch.cat([b.now[:, :1], b.following], 1).tolist() for b in batches]
        epochs.append([row for batch in tokens for row in batch])
    everything = sorted(rows.row(n)[0].tolist() for n in range(len(rows)))
    for drawn in epochs:
        filled = [row + [IGNORED] * (7 - len(row)) for row in drawn]
        assert len(filled) == steps * 4
        assert all(everything.count(row) >= filled.count(row) for row in filled)
    assert epochs[0] != epochs[1]


def test_a_batch_is_the_same_whenever_it_is_asked(tmp_path: Path) -> None:
    shards, _ = make_shards(tmp_path, LENGTHS, 50)
    rows, again = (ShardRows(shards, 3, 8, seed=5) for _ in range(2))
    first = [rows(step) for step in range(7)]
    for step in (6, 0, 3):
        assert all(map(torch.equal, again(step), first[step]))
    batch = first[0]
    assert {part.dtype for part in batch} == {torch.int64}
    assert (batch.following != IGNORED).any(0).all()  # no column only fills up
    assert torch.equal(batch.now[:, 1:], batch.following[:, :-1].clamp(min=0))


def test_what_batches_depend_on_changes_their_digest(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    shards, _ = make_shards(tmp_path / "a", LENGTHS, 50)
    others, _ = make_shards(tmp_path / "b", LENGTHS, 50, seed=1)
    digests = [
        ShardRows(shards, 2, 8).digest,
        ShardRows(others, 2, 8).digest,
        ShardRows(shards, 3, 8).digest,
        ShardRows(shards, 2, 9).digest,
        ShardRows(shards, 2, 8, "packed").digest,
        ShardRows(shards, 2, 8, seed=1).digest,
    ]
    assert len(set(digests)) == len(digests)
    assert ShardRows(shards, 2, 8).digest == digests[0]


def test_rows_that_are_not_there_are_refused(tmp_path: Path) -> None:
    shards, _ = make_shards(tmp_path, LENGTHS, 50)
    with pytest.raises(ValueError, match="a batch of 12 rows was asked of 11"):
        ShardRows(shards, 12, 8)
    with pytest.raises(ValueError, match="a batch of 1 rows was asked of 0"):
        ShardRows(shards, 1, 80, "packed")
    with pytest.raises(ValueError, match="rows of 0 tokens were asked for"):
        ShardRows(shards, 1, 0)


def test_rows_train_a_model_and_a_checkpoint_knows_them(tmp_path: Path) -> None:
    shards, made = make_shards(tmp_path, [6] * 8, 20)
    batch = ShardRows(shards, 8, 6)(0)
    order = [
        next(n for n, (own, _) in enumerate(made) if np.array_equal(own, row))
        for row in batch.following.numpy()
    ]
    assert sorted(order) == list(range(8))
    assert torch.equal(batch.route, torch.from_numpy(np.stack([made[n][1] for n in order])).long())
