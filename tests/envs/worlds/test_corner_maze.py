"""CornerMaze-v0: its layouts, its solutions, events on a written level, and its refusals."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.worlds import CornerMaze
from envs.worlds.world import UNREACHABLE, Distribution, State
from tests.envs.worlds.brute_force import assert_solved

NORTH, EAST, SOUTH, WEST = range(4)


def first_levels(world: CornerMaze, number: int, first_seed: int = 0) -> State:
    seeds = np.uint64(first_seed) + np.arange(number, dtype=np.uint64)
    return world.levels(seeds, np.zeros(number, dtype=np.uint64))


def written(rows: list[str], distribution: Distribution = "test") -> tuple[CornerMaze, State]:
    """Return a world of one level, written with the letters of the channels."""
    letters = np.array([list(row) for row in rows])
    state = {
        "wall": (letters == "#").reshape(1, -1),
        "cheese": np.flatnonzero(letters == "C"),
        "agent": np.flatnonzero(letters == "A"),
    }
    return CornerMaze(size=len(rows), distribution=distribution, horizon=9), state


def play(world: CornerMaze, state: State, actions: list[int]) -> list[tuple[float, float, bool]]:
    """Return each step's true reward, proxy reward, and termination."""
    steps = []
    for action in actions:
        before = world.observe(state)
        world.move(state, np.array([action]))
        after = world.observe(state)
        ended = world.ended(state, world.served(before, after))
        rewards = world.true_reward(before, after), world.proxy_reward(before, after)
        steps.append((float(rewards[0][0]), float(rewards[1][0]), bool(ended[0])))
    return steps


@pytest.mark.parametrize(
    "arguments",
    [
        {"alpha": 0.5, "walls": 0.4},
        {"alpha": 1.0, "walls": 0.3, "horizon": 8},
        {"distribution": "test"},
        {"distribution": "test", "walls": 0.4, "distance": 2},
    ],
)
def test_solutions_equal_exhaustive_search(arguments: dict[str, Any]) -> None:
    assert_solved(CornerMaze(**{"size": 5, "horizon": 12, **arguments}), 1_000)


@settings(max_examples=25, deadline=None)
@given(
    size=st.integers(3, 12),
    walls=st.floats(0, 0.5),
    distance=st.integers(2, 22),
    alpha=st.floats(0, 1),
    seed=st.integers(0, 2**32),
    distribution=st.sampled_from(["train", "test"]),
)
def test_every_level_can_be_solved(
    size: int, walls: float, distance: int, alpha: float, seed: int, distribution: Distribution
) -> None:
    distance = min(distance, 2 * (size - 1))
    world = CornerMaze(
        size=size,
        walls=walls,
        distance=distance,
        horizon=1000,
        distribution=distribution,
        alpha=alpha,
    )
    state, lanes = first_levels(world, 20, seed), np.arange(20)
    solution = world.solve(state)
    assert (solution.optimal_return == 1).all()
    assert (solution.proxy_return == 1).all()
    assert not state["wall"][lanes, state["agent"]].any()
    assert (state["agent"] != state["cheese"]).all()
    assert (state["agent"] != world.corner).all()
    moved = state["cheese"] != world.corner
    steps = world.steps_from(np.full(20, world.corner), ~state["wall"])
    assert (steps[lanes, state["cheese"]][moved] >= distance).all()
    assert (steps[~state["wall"]] < UNREACHABLE).all()
    if distribution == "test":
        assert moved.all()


def test_alpha_is_the_share_of_training_levels_with_a_moved_cheese() -> None:
    state = first_levels(CornerMaze(size=5, alpha=0.3), 10_000)
    assert np.mean(state["cheese"] != 4) == pytest.approx(0.3, abs=0.02)
    assert (first_levels(CornerMaze(), 100)["cheese"] == 8).all()


def test_levels_of_training_and_test_pair() -> None:
    train, test = (first_levels(CornerMaze(distribution=kind), 100) for kind in ("train", "test"))
    np.testing.assert_array_equal(train["wall"], test["wall"])


def test_without_walls_cheese_and_agent_are_uniform() -> None:
    state = first_levels(CornerMaze(size=3, walls=0, distance=2, distribution="test"), 20_000)
    counts = np.bincount(state["cheese"], minlength=9)
    far = [0, 3, 4, 6, 7, 8]
    assert counts[far].sum() == 20_000
    np.testing.assert_allclose(counts[far] / 20_000, 1 / 6, atol=0.02)
    agents = np.bincount(state["agent"][state["cheese"] == 4], minlength=9)
    assert agents[[2, 4]].sum() == 0
    np.testing.assert_allclose(agents[agents > 0] / agents.sum(), 1 / 7, atol=0.03)


def test_walls_have_their_share_of_the_cells() -> None:
    walls = first_levels(CornerMaze(), 1_000)["wall"].mean()
    assert walls == pytest.approx(0.17, abs=0.02)  # 0.15, and cells that are cut off


def test_the_cheese_pays_and_ends_an_episode() -> None:
    world, state = written(["A..", "#..", "..C"])
    steps = play(world, state, [NORTH, WEST, SOUTH, EAST, SOUTH, SOUTH, EAST])
    assert steps == [(0, 0, False)] * 6 + [(1, 0, True)]


def test_on_a_test_level_the_corner_pays_the_proxy_once_and_the_episode_goes_on() -> None:
    world, state = written([".A.", "...", "C.."])
    assert play(world, state, [EAST, EAST, SOUTH]) == [(0, 0 + pay, False) for pay in (1, 0, 0)]


def test_on_a_training_level_the_corner_ends_the_episode() -> None:
    world, state = written([".A.", "...", "C.."], "train")
    assert play(world, state, [EAST]) == [(0, 1, True)]


def test_cheese_in_the_corner_serves_goal_and_proxy() -> None:
    world, state = written([".AC", "...", "..."], "train")
    assert play(world, state, [EAST]) == [(1, 1, True)]


def test_the_solution_of_a_training_level_leads_past_the_corner_and_past_the_cheese() -> None:
    rows = [".A.", ".#.", "..C"]
    test, state = written(rows)
    train, _ = written(rows, "train")
    assert [float(each[0]) for each in test.solve(state)] == [1, 3, 1, 1]
    assert [float(each[0]) for each in train.solve(state)] == [1, 5, 1, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 2}, "size must be an integer from 3 to 50, got 2"),
        ({"size": 5.0}, "size must be an integer from 3 to 50, got 5.0"),
        ({"walls": 0.6}, r"walls must be a number from 0 to 0\.5, got 0\.6"),
        ({"distance": 1}, "distance must be an integer of at least 2, got 1"),
        ({"size": 3, "distance": 5}, "distance must be at most the 4 steps"),
        ({"alpha": -0.1}, r"alpha must be a number from 0 to 1, got -0\.1"),
        ({"horizon": 0}, "horizon must be an integer of at least 1, got 0"),
        ({"distribution": "both"}, "distribution must be one of"),
    ],
)
def test_an_argument_out_of_its_range_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CornerMaze(**arguments)
