"""Tests of the pools of documents: their shares, what is drawn of them, and those of small sets."""

import numpy as np
import pytest

from lm.data.pools import LEAST, SHARES, Pools
from lm.training.route_tables import FORGET, LABELS, RETAIN

LABELS_OF_ALL = np.random.default_rng(0).integers(0, 3, 4000).astype(np.uint8)
POOLS = Pools(LABELS_OF_ALL)


def test_pools_partition_documents_by_their_shares() -> None:
    members = [POOLS.members(pool) for pool in SHARES]
    assert np.array_equal(np.sort(np.concatenate(members)), np.arange(4000))
    for found, share in zip(members, SHARES.values(), strict=True):
        assert abs(len(found) - 4000 * share) < 5 * np.sqrt(4000 * share * (1 - share))


def test_labels_partition_each_pool() -> None:
    parts = [POOLS.members("exam", label) for label in range(len(LABELS))]
    assert np.array_equal(np.sort(np.concatenate(parts)), POOLS.members("exam"))
    assert (LABELS_OF_ALL[parts[FORGET]] == FORGET).all()


def test_pools_of_documents_do_not_change_when_documents_are_added() -> None:
    fewer = Pools(LABELS_OF_ALL[:1000])
    for pool in SHARES:
        whole = POOLS.members(pool)
        assert np.array_equal(fewer.members(pool), whole[whole < 1000])


def test_draw_is_without_replacement_and_depends_on_the_seed() -> None:
    drawn = POOLS.draw("attack", 60, [3, 1], RETAIN)
    assert len(set(drawn.tolist())) == 60
    assert set(drawn.tolist()) <= set(POOLS.members("attack", RETAIN).tolist())
    assert np.array_equal(drawn, POOLS.draw("attack", 60, [3, 1], RETAIN))
    assert np.array_equal(drawn[:20], POOLS.draw("attack", 20, [3, 1], RETAIN))
    assert not np.array_equal(drawn, POOLS.draw("attack", 60, [4, 1], RETAIN))


def test_draw_names_a_pool_that_is_too_small() -> None:
    few = Pools(LABELS_OF_ALL[:40])
    count = len(few.members("exam", FORGET))
    asked = f"{count + 1} documents labeled forget were asked of the pool 'exam'"
    with pytest.raises(ValueError, match=f"{asked}, which has {count} "):
        few.draw("exam", count + 1, [0], FORGET)


@pytest.mark.parametrize(("forget", "retain"), [(8, 9), (40, 300), (1000, 8)])
def test_fitted_pools_have_each_label_by_its_share_or_at_least_a_few(
    forget: int, retain: int
) -> None:
    labels = np.repeat([FORGET, RETAIN], [forget, retain]).astype(np.uint8)
    fitted = Pools(labels, fitted=True)
    for label, count in ((FORGET, forget), (RETAIN, retain)):
        sizes = {pool: len(fitted.members(pool, label)) for pool in SHARES}
        assert sum(sizes.values()) == count
        held = {pool: max(LEAST[pool], round(count * SHARES[pool])) for pool in LEAST}
        assert sizes == {"train": count - sum(held.values()), **held}


def test_fitted_draws_spread_each_label_evenly() -> None:
    labels = np.repeat([FORGET, RETAIN], [100, 300]).astype(np.uint8)
    fitted = Pools(labels, fitted=True)
    drawn = fitted.draw("train", 280, [0])
    assert np.array_equal(np.sort(drawn), fitted.members("train"))
    assert np.array_equal(drawn[:40], fitted.draw("train", 40, [0]))
    assert not np.array_equal(drawn, fitted.draw("train", 280, [1]))
    for start in range(0, 280, 40):
        part = labels[drawn[start : start + 40]]
        assert 9 <= (part == FORGET).sum() <= 11
