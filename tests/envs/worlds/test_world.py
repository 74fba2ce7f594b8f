"""The kernel of grid worlds: paths, moves and draws against slow references."""

from collections import deque

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from envs.worlds import CornerMaze
from envs.worlds.world import (
    UNREACHABLE,
    distances,
    draw_cell,
    level_words,
    one_cell,
)

MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))  # north, east, south, west
Boards = tuple[NDArray[np.bool_], NDArray[np.bool_]]


def slow_distances(free: NDArray[np.bool_], sources: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Search one board, [rows, columns], with a queue of cells."""
    steps = np.full(free.shape, UNREACHABLE, dtype=np.intp)
    queue = deque((int(row), int(column)) for row, column in np.argwhere(free & sources))
    for cell in queue:
        steps[cell] = 0
    while queue:
        row, column = queue.popleft()
        for down, right in MOVES:
            cell = row + down, column + right
            inside = 0 <= cell[0] < free.shape[0] and 0 <= cell[1] < free.shape[1]
            if inside and free[cell] and steps[cell] == UNREACHABLE:
                steps[cell] = steps[row, column] + 1
                queue.append(cell)
    return steps


@st.composite
def boards(draw: st.DrawFn) -> Boards:
    """Draw free cells and sources, [5, rows, columns] each."""
    shape = 5, draw(st.integers(1, 8)), draw(st.integers(1, 8))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    return generator.random(shape) < 0.7, generator.random(shape) < 0.1


@settings(max_examples=50, deadline=None)
@given(drawn=boards())
def test_distances_equal_a_search_of_each_board(drawn: Boards) -> None:
    slow = [slow_distances(free, sources) for free, sources in zip(*drawn, strict=True)]
    np.testing.assert_array_equal(distances(*drawn), slow)


def test_blocked_cells_stop_a_move_in_their_own_lane() -> None:
    world = CornerMaze(size=3, distance=2)
    blocked = np.zeros((2, 9), dtype=np.bool_)
    blocked[0, 5] = True
    start, east = np.array([4, 4]), np.array([1, 1])
    np.testing.assert_array_equal(world.step_to(start, east, blocked), [4, 5])


def test_steps_from_a_cell_that_is_not_free_reach_nothing() -> None:
    world = CornerMaze(size=3, distance=2)
    free = np.ones((2, 9), dtype=np.bool_)
    free[0, 0] = False
    steps = world.steps_from(np.array([0, 0]), free)
    assert (steps[0] == UNREACHABLE).all()
    assert steps[1].tolist() == [0, 1, 2, 1, 2, 3, 2, 3, 4]


def test_a_drawn_cell_is_uniform_among_the_allowed_ones() -> None:
    allowed = np.tile([False, True, False, True, True, False], (30_000, 1))
    word = level_words(np.arange(30_000, dtype=np.uint64), np.zeros(30_000, np.uint64), 0, 1)[0]
    counts = np.bincount(draw_cell(allowed, word), minlength=6)
    assert counts[[0, 2, 5]].sum() == 0
    np.testing.assert_allclose(counts[[1, 3, 4]] / 30_000, 1 / 3, atol=0.02)


def test_one_cell_marks_each_lanes_cell() -> None:
    marked = one_cell(np.array([0, 5]), 2, 3)
    assert np.argwhere(marked).tolist() == [[0, 0, 0], [1, 1, 2]]


def test_words_of_a_level_depend_on_seed_episode_and_attempt_only() -> None:
    seeds, episodes = np.array([3, 3, 4], dtype=np.uint64), np.array([0, 1, 0], dtype=np.uint64)
    words = level_words(seeds, episodes, 0, 4)
    assert len(np.unique(words)) == 12
    assert len(np.unique([words, level_words(seeds, episodes, 1, 4)])) == 24
    np.testing.assert_array_equal(level_words(seeds[1:], episodes[1:], 0, 4), words[:, 1:])
