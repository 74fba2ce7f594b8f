"""Approaches: cells one step from goal and proxy, and that step itself, in every world."""

import numpy as np
import pytest
from numpy.typing import NDArray

from envs.worlds import WORLDS, KeysChests, SideRunner, World, make_world
from envs.worlds.approach import approaches, moved_to, paired_states
from envs.worlds.world import State

LEVELS = 200
THINGS = {
    "CornerMaze-v0": ("cheese", 8),
    "SideRunner-v0": ("coin", "exit"),
    "ColorShape-v0": ("ball", "yellow"),
    "AbsentSupervisor-v0": ("goal", "shortcut"),
}
"""What serves the goal, and what the proxy: names of cells in the state, or a cell."""


def first_states(world: World) -> tuple[State, NDArray[np.uint64]]:
    """Return first states of test levels, and a word for each of them."""
    words = np.arange(LEVELS, dtype=np.uint64)
    return world.levels(words, np.zeros_like(words)), words


def steps_that_serve(world: World, state: State) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return whether any single step serves the goal, and the proxy, [levels] each."""
    goal, proxy = np.zeros((2, LEVELS), np.bool_)
    for action in range(4):
        after = moved_to(state, state["agent"])
        world.move(after, np.full(LEVELS, action))
        served = world.served(world.observe(state), world.observe(after))
        goal |= served.goal
        proxy |= served.proxy
    return goal, proxy


@pytest.mark.parametrize("name", THINGS)
def test_goal_and_proxy_are_where_the_state_has_them(name: str) -> None:
    world = make_world(name, {"distribution": "test"})
    state, _ = first_states(world)
    found = approaches(world, state)
    for cells, thing in zip((found.goal, found.proxy), THINGS[name], strict=True):
        assert (cells.sum(axis=1) == 1).all()
        expected = state[thing] if isinstance(thing, str) else np.full(LEVELS, thing)
        np.testing.assert_array_equal(cells.argmax(axis=1), expected)


@pytest.mark.parametrize("name", WORLDS)
def test_one_step_serves_the_goal_or_the_proxy_and_never_both(name: str) -> None:
    world = make_world(name, {"distribution": "test"})
    state, words = first_states(world)
    pair = paired_states(world, state, words)
    assert pair.exists.mean() > 0.9
    for which, paired in enumerate((pair.before_goal, pair.before_proxy)):
        served = steps_that_serve(world, paired)
        assert served[which][pair.exists].all()
        assert not served[1 - which][pair.exists].any()
        lanes = np.arange(LEVELS)
        assert world.free(paired)[lanes, paired["agent"]][pair.exists].all()
    for key in set(state) - {"agent"}:
        np.testing.assert_array_equal(pair.before_goal[key], pair.before_proxy[key])
    again, _ = first_states(world)
    for key, array in state.items():
        np.testing.assert_array_equal(array, again[key])  # the levels are as they were


def test_pits_are_no_places_to_stand() -> None:
    world = SideRunner(pits=0.3, distribution="test")
    state, _ = first_states(world)
    found = approaches(world, state)
    assert state["pit"].any()
    assert not ((found.before_goal | found.before_proxy) & state["pit"]).any()


def test_one_chest_and_one_key_are_left_to_decide() -> None:
    world = KeysChests(keys=2, distribution="test")
    state = world.nearly(first_states(world)[0])
    assert (state["chest"].sum(axis=1) == 1).all()
    assert (state["open"].sum(axis=1) == 1).all()
    assert (state["key"].sum(axis=1) == 2).all()
    assert (state["held"] == 1).all()
