"""Each document is of one pool, by its number alone."""

import numpy as np
import pytest

from lm.data.shards import SHARES, Pools
from lm.training.route_tables import FORGET, LABELS, RETAIN

LABELS_OF_ALL = np.random.default_rng(0).integers(0, 3, 4000).astype(np.uint8)
POOLS = Pools(LABELS_OF_ALL)


def test_pools_part_all_documents_by_their_shares() -> None:
    members = [POOLS.members(pool) for pool in SHARES]
    assert np.array_equal(np.sort(np.concatenate(members)), np.arange(4000))
    for found, share in zip(members, SHARES.values(), strict=True):
        assert abs(len(found) - 4000 * share) < 5 * np.sqrt(4000 * share * (1 - share))


def test_a_label_parts_a_pool() -> None:
    parts = [POOLS.members("exam", label) for label in range(len(LABELS))]
    assert np.array_equal(np.sort(np.concatenate(parts)), POOLS.members("exam"))
    assert (LABELS_OF_ALL[parts[FORGET]] == FORGET).all()


def test_more_documents_leave_the_first_where_they_were() -> None:
    fewer = Pools(LABELS_OF_ALL[:1000])
    for pool in SHARES:
        whole = POOLS.members(pool)
        assert np.array_equal(fewer.members(pool), whole[whole < 1000])


def test_a_draw_has_none_twice_and_is_that_of_its_seed() -> None:
    drawn = POOLS.draw("attack", 60, [3, 1], RETAIN)
    assert len(set(drawn.tolist())) == 60
    assert set(drawn.tolist()) <= set(POOLS.members("attack", RETAIN).tolist())
    assert np.array_equal(drawn, POOLS.draw("attack", 60, [3, 1], RETAIN))
    assert np.array_equal(drawn[:20], POOLS.draw("attack", 20, [3, 1], RETAIN))
    assert not np.array_equal(drawn, POOLS.draw("attack", 60, [4, 1], RETAIN))


def test_a_pool_that_has_too_few_is_named() -> None:
    few = Pools(LABELS_OF_ALL[:40])
    count = len(few.members("exam", FORGET))
    asked = f"{count + 1} documents labeled forget were asked of the pool 'exam'"
    with pytest.raises(ValueError, match=f"{asked}, which has {count} "):
        few.draw("exam", count + 1, [0], FORGET)
