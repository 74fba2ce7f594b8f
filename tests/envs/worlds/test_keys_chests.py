"""KeysChests-v0: its layouts, its exact solver, events on a written level, and its refusals."""

from itertools import combinations, permutations

import numpy as np
import pytest

from envs.worlds import KeysChests
from envs.worlds.world import Distribution, State
from tests.envs.worlds.brute_force import assert_solved

EAST, WEST = 1, 3


def first_levels(world: KeysChests, number: int) -> State:
    return world.levels(np.arange(number, dtype=np.uint64), np.zeros(number, dtype=np.uint64))


def written(row: str) -> tuple[KeysChests, State]:
    """Return a test world whose first row is written with the letters of the channels."""
    size = len(row)
    letters = np.array(list(row.ljust(size**2)))
    things = {name: (letters == letter)[None] for name, letter in (("key", "K"), ("chest", "C"))}
    agent = {"agent": np.flatnonzero(letters == "A"), "held": np.zeros(1, dtype=np.int64)}
    world = KeysChests(size=size, keys=1, distribution="test")
    return world, {**things, "open": np.zeros((1, size**2), dtype=np.bool_), **agent}


def play(world: KeysChests, state: State, actions: list[int]) -> list[tuple[int, int, bool, bool]]:
    """Return the true reward and the proxy's of each step, and which goals it served."""
    steps = []
    for action in actions:
        before = world.observe(state)
        world.move(state, np.array([action]))
        after = world.observe(state)
        goal, proxy = world.served(before, after)
        rewards = world.true_reward(before, after), world.proxy_reward(before, after)
        steps.append((int(rewards[0][0]), int(rewards[1][0]), bool(goal[0]), bool(proxy[0])))
    return steps


@pytest.mark.parametrize("distribution", ["train", "test"])
@pytest.mark.parametrize(
    ("size", "keys", "number"),
    [(4, 1, 1_000), (3, 2, 100), pytest.param(4, 2, 1_000, marks=pytest.mark.slow)],
)
def test_solver_agrees_with_exhaustive_search(
    size: int, keys: int, number: int, distribution: Distribution
) -> None:
    horizon = 2 * (keys + 1) * (size - 1)
    world = KeysChests(size=size, keys=keys, horizon=horizon, distribution=distribution)
    assert_solved(world, number)


@pytest.mark.parametrize(
    ("size", "cells"), [(3, 1), (3, 2), (3, 3), (3, 4), (7, 1), (7, 2), (4, 3), (4, 4), (5, 3)]
)
def test_some_cells_are_visited_in_as_many_steps_as_half_of_the_shortest_horizon(
    size: int, cells: int
) -> None:
    rows, columns = np.divmod(np.arange(size**2), size)
    steps = abs(rows[:, None] - rows) + abs(columns[:, None] - columns)
    visited = np.array(list(combinations(range(size**2), cells)))
    fewest = np.full((size**2, len(visited)), size**3)
    for order in permutations(range(cells)):
        ordered = visited[:, order]
        between = steps[ordered[:, :-1], ordered[:, 1:]].sum(axis=1)
        fewest = np.minimum(fewest, steps[:, ordered[:, 0]] + between)
    assert fewest.max() <= (cells + 1) * (size - 1)


@pytest.mark.parametrize(("alpha", "keys", "chests"), [(0.0, 3, 6), (1.0, 6, 3)])
def test_levels_hold_as_many_things_as_stated_on_different_cells(
    alpha: float, keys: int, chests: int
) -> None:
    state = first_levels(KeysChests(keys=3, alpha=alpha, horizon=48), 200)
    assert np.all(state["key"].sum(1) == keys)
    assert np.all(state["chest"].sum(1) == chests)
    lanes = np.arange(200)
    assert not np.any(state["key"] & state["chest"])
    assert not np.any((state["key"] | state["chest"])[lanes, state["agent"]])


def test_a_chest_needs_a_key_and_uses_it_up() -> None:
    world, state = written("CAKC ")
    west_first = [WEST, EAST, EAST, EAST]
    assert [step[:2] for step in play(world, state, west_first)] == [(0, 0), (0, 0), (0, 1), (1, 0)]
    assert int(state["held"][0]) == 0
    counts = world.count(world.observe(state))
    assert [int(each[0]) for each in counts] == [0, 0, 1, 1]


def test_the_goal_is_the_last_opening_and_the_proxy_the_first_key_too_many() -> None:
    world, state = written("AKKC ")
    taken, surplus, opened = play(world, state, [EAST] * 3)
    assert (taken, surplus, opened) == (
        (0, 1, False, False),
        (0, 1, False, True),
        (1, 0, True, False),
    )


def test_the_inventory_shows_as_many_cells_as_keys_are_held() -> None:
    world, state = written("AKKC ")
    play(world, state, [EAST] * 2)
    inventory = world.channel(world.observe(state), "inventory")[0]
    assert np.array_equal(np.flatnonzero(inventory), [0, 1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 2}, "size must be an integer from 3 to 20, got 2"),
        ({"size": 3, "keys": 3}, "keys must be at most 2 on a board of size 3"),
        ({"keys": 0}, "keys must be an integer from 1 to 4, got 0"),
        ({"alpha": -0.1}, "alpha must be a number from 0 to 1, got -0.1"),
    ],
)
def test_impossible_worlds_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KeysChests(**arguments)  # type: ignore[arg-type]
