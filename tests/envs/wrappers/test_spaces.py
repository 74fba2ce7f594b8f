"""Spaces with a flag or with queries: every number and every bound stays inside."""

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import batch_space, iterate

from envs.wrappers.spaces import add_flag, add_one_flag, asking_space, flagged_space, split_action

SPACES: dict[str, spaces.Space[Any]] = {
    "started": spaces.Discrete(4, start=5),
    "negative": spaces.Discrete(4, start=-2),
    "small": spaces.Discrete(100, dtype=np.int8),
    "unsigned": spaces.Discrete(100, start=100, dtype=np.uint8),
    "empty": spaces.Box(-1.0, 1.0, (0,), np.float32),
    "empty planes": spaces.Box(0, 255, (0, 5, 5), np.uint8),
    "whole numbers": spaces.Box(3, 9, (2,), np.int16),
    "unbounded": spaces.Box(-np.inf, np.inf, (3,), np.float64),
    "below zero": spaces.Box(-3.0, -1.0, (2, 4, 4), np.float32),
    "image": spaces.Box(0, 255, (6, 6, 3), np.uint8),
    "boolean": spaces.Box(0, 1, (2,), np.bool_),
    "bits": spaces.MultiBinary(3),
    "several": spaces.MultiDiscrete([3, 2], start=[5, -1]),
}


@pytest.mark.parametrize("name", SPACES)
def test_flagged_observation_is_in_the_flagged_space(name: str) -> None:
    space = SPACES[name]
    space.seed(0)
    flagged = flagged_space(space)
    for _ in range(5):
        observation = space.sample()
        shown = [add_flag(space, np.asarray(observation)[None], np.array([f]))[0] for f in (0, 1)]
        for each in shown:
            assert flagged.contains(each)
        assert not np.array_equal(*shown)
        if isinstance(space, spaces.Discrete):
            assert [int(each) for each in shown] == [observation, int(observation) + int(space.n)]


@pytest.mark.parametrize("side", [3, 5, 7])
def test_board_gains_a_plane_however_small_it_is(side: int) -> None:
    space = spaces.MultiBinary((5, side, side))
    assert flagged_space(space).shape == (6, side, side)
    shown = add_flag(space, np.zeros((2, 5, side, side), np.int8), np.array([False, True]))
    assert shown.sum(axis=(2, 3)).tolist() == [[0] * 6, [0] * 5 + [side * side]]


PARTS = [SPACES["image"], SPACES["negative"]]
NESTED = {
    "dict": spaces.Dict({"image": PARTS[0], "inside": spaces.Dict({"number": PARTS[1]})}),
    "tuple": spaces.Tuple([*PARTS, spaces.Tuple(PARTS)]),
}


@pytest.mark.parametrize("name", NESTED)
def test_dictionary_gains_a_key_and_tuple_an_item(name: str) -> None:
    space = NESTED[name]
    flagged, batch = flagged_space(space), batch_space(space, 2)
    batch.seed(0)
    for _ in range(5):
        before = batch.sample()
        after = add_flag(space, before, np.array([False, True]))
        assert batch_space(flagged, 2).contains(after)
        lanes = list(iterate(batch_space(flagged, 2), after))
        for lane, each in enumerate(iterate(batch, before)):
            one = add_one_flag(space, each, np.array([lane == 1]))
            np.testing.assert_equal(one, lanes[lane])
            flag = one["observed"] if isinstance(one, dict) else one[-1]
            assert flag == lane


def test_highest_numbers_of_small_discrete_spaces_do_not_wrap_around() -> None:
    space = spaces.Discrete(100, dtype=np.int8)
    flags = np.array([True, False])
    assert add_flag(space, np.array([99, 99], np.int8), flags).tolist() == [199, 99]


@pytest.mark.parametrize("space", [s for s in SPACES.values() if isinstance(s, spaces.Discrete)])
def test_action_with_a_query_is_the_action(space: spaces.Discrete) -> None:
    asking = asking_space(space)
    first, size = int(space.start), int(space.n)
    assert [asking.contains(first + number) for number in (-1, 0, 2 * size - 1, 2 * size)] == [
        False,
        True,
        True,
        False,
    ]
    actions, asks = split_action(space, np.array([first, first + 2 * size - 1]))
    assert (actions.tolist(), asks.tolist()) == ([first, first + size - 1], [False, True])


@pytest.mark.parametrize("change", [flagged_space, asking_space])
def test_discrete_space_without_room_is_refused(change: Any) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match="must leave room for as many numbers again"):
        change(spaces.Discrete(2**62 + 1))
