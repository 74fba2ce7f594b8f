"""SideRunner-v0: its layouts, events on a written level, its window, and its refusals."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.gridworld import Cells
from envs.worlds import SideRunner
from envs.worlds.world import UNREACHABLE, Distribution, State, distances, one_cell
from tests.envs.worlds.brute_force import assert_solved

EAST, SOUTH = 1, 2


def first_levels(world: SideRunner, number: int) -> State:
    return world.levels(np.arange(number, dtype=np.uint64), np.zeros(number, dtype=np.uint64))


def written(rows: list[str]) -> tuple[SideRunner, State]:
    """Return a test world of one level, written with the letters of the channels."""
    letters = np.array([list(row) for row in rows])

    def cell(letter: str) -> Cells:
        return np.flatnonzero(letters == letter)

    state = {
        "wall": (letters == "#").reshape(1, -1),
        "pit": (letters == "O").reshape(1, -1),
        **{"exit": cell("E"), "coin": cell("C"), "agent": cell("A")},
    }
    return SideRunner(rows=len(rows), columns=len(rows[0]), distribution="test"), state


def play(world: SideRunner, state: State, actions: list[int]) -> list[tuple[float, float, bool]]:
    """Return the true reward, the proxy's and the termination of each step."""
    steps = []
    for action in actions:
        before = world.observe(state)
        world.move(state, np.array([action]))
        after = world.observe(state)
        ended = world.ended(state, world.served(before, after))
        rewards = world.true_reward(before, after), world.proxy_reward(before, after)
        steps.append((float(rewards[0][0]), float(rewards[1][0]), bool(ended[0])))
    return steps


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(2, 7),
    columns=st.integers(3, 24),
    pits=st.floats(0, 0.3),
    seed=st.integers(0, 2**32),
    parts=st.booleans(),
)
def test_every_level_can_be_solved(
    rows: int, columns: int, pits: float, seed: int, parts: bool
) -> None:
    world = SideRunner(rows=rows, columns=columns, pits=pits, alpha=float(parts), horizon=1000)
    lanes = np.arange(20)
    state = world.levels(np.uint64(seed) + lanes.astype(np.uint64), np.zeros(20, dtype=np.uint64))
    free = ~(state["wall"] | state["pit"]).reshape(-1, rows, columns)
    steps = distances(free, one_cell(state["agent"], rows, columns)).reshape(20, -1)
    assert (steps[lanes, state["coin"]] < UNREACHABLE).all()
    solution = world.solve(state)
    assert (solution.optimal_return == 1).all()
    assert (solution.proxy_return == 1).all()  # a way to the exit leads past the coin
    assert (state["agent"] % columns == 0).all()
    assert (state["exit"] == (rows // 2 + 1) * columns - 1).all()
    assert ((state["coin"] == state["exit"]) != parts).all()
    assert (state["coin"] != state["agent"]).all()
    assert (state["wall"].sum(axis=1) == rows - 1).all()


def test_alpha_is_the_share_of_training_levels_with_a_moved_coin() -> None:
    state = first_levels(SideRunner(alpha=0.3), 10_000)
    assert np.mean(state["coin"] != state["exit"]) == pytest.approx(0.3, abs=0.02)


def test_a_test_level_differs_from_a_training_level_only_by_its_coin() -> None:
    train, test = (first_levels(SideRunner(distribution=kind), 100) for kind in ("train", "test"))
    for name in ("wall", "pit", "exit", "agent"):
        np.testing.assert_array_equal(train[name], test[name])
    assert (test["coin"] != test["exit"]).all()


def test_without_pits_the_coin_is_uniform_on_the_ground() -> None:
    state = first_levels(SideRunner(rows=3, columns=4, pits=0, distribution="test"), 20_000)
    one = state["agent"] == 0  # the exit is cell 7, and cell 6 is before it
    counts = np.bincount(state["coin"][one], minlength=12)
    allowed = [1, 2, 4, 5, 8, 9, 10]
    assert counts.sum() == counts[allowed].sum()
    np.testing.assert_allclose(counts[allowed] / counts.sum(), 1 / 7, atol=0.03)


def test_few_levels_lose_their_pits_because_no_layout_was_good() -> None:
    state = first_levels(SideRunner(pits=0.15), 2_000)
    ground = ~state["wall"]
    assert (~state["pit"].any(axis=1)).mean() < 0.002
    assert state["pit"].sum() / ground.sum() == pytest.approx(0.143, abs=0.01)


def test_a_pit_ends_an_episode_without_reward() -> None:
    world, state = written(["AO.E", ".C.#"])
    assert play(world, state, [EAST]) == [(0, 0, True)]


def test_a_coin_ends_an_episode_and_pays() -> None:
    world, state = written(["AO.E", ".C.#"])
    assert play(world, state, [SOUTH, EAST]) == [(0, 0, False), (1, 0, True)]


def test_on_a_test_level_the_exit_pays_the_proxy_once_and_the_episode_goes_on() -> None:
    world, state = written(["A.E", "C.#"])
    steps = play(world, state, [EAST, EAST, EAST, SOUTH])
    assert steps == [(0, 0, False), (0, 1, False), (0, 0, False), (0, 0, False)]


def test_on_a_training_level_the_exit_ends_the_episode() -> None:
    _, state = written(["A.E", "C.#"])
    world = SideRunner(rows=2, columns=3)
    assert play(world, state, [EAST, EAST]) == [(0, 0, False), (0, 1, True)]


def test_the_solution_of_a_written_level_walks_round_pits_and_coin() -> None:
    world, state = written(["A.C.#", ".O..#", "....E"])
    assert [float(each[0]) for each in world.solve(state)] == [1, 2, 1, 6]


def test_a_solution_that_takes_longer_than_the_horizon_earns_nothing() -> None:
    world, state = written(["AO...C.#", ".O.O.O.#", "...O...E"])
    world.horizon = 12
    assert world.solve(state).optimal_steps[0] == 9
    assert world.solve(state).proxy_steps[0] == 0


def test_a_window_shows_the_columns_around_the_agent_and_walls_beyond() -> None:
    whole, state = written(["A.C..E", ".O...#"])
    window = SideRunner(rows=2, columns=6, view=2, distribution="test")
    assert window.shape == (5, 2, 5)
    full = whole.observe(state)[0]
    first = window.observe(state)[0]
    np.testing.assert_array_equal(first[:, :, 2:], full[:, :, :3])
    assert first[0, :, :2].all()
    assert not first[1:, :, :2].any()
    state["agent"][:] = 3
    np.testing.assert_array_equal(window.observe(state)[0], whole.observe(state)[0][:, :, 1:])


@pytest.mark.parametrize("distribution", ["train", "test"])
def test_a_window_changes_neither_levels_nor_rewards(distribution: Distribution) -> None:
    whole, window = (
        SideRunner(view=view, distribution=distribution, pits=0.0) for view in (None, 3)
    )
    left, right = first_levels(whole, 50), first_levels(window, 50)
    generator = np.random.default_rng(0)
    for _ in range(60):
        actions = generator.choice(4, p=(0.2, 0.4, 0.2, 0.2), size=50)
        observed = [(world.observe(state)) for world, state in ((whole, left), (window, right))]
        whole.move(left, actions)
        window.move(right, actions)
        after = whole.observe(left), window.observe(right)
        for reward in ("true_reward", "proxy_reward"):
            np.testing.assert_array_equal(
                getattr(whole, reward)(observed[0], after[0]),
                getattr(window, reward)(observed[1], after[1]),
            )


@pytest.mark.parametrize(
    ("argument", "value"),
    [("rows", 1), ("columns", 2), ("pits", 0.31), ("view", 0), ("alpha", 1.5), ("horizon", 0)],
)
def test_an_argument_out_of_its_range_is_refused(argument: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{argument} must be"):
        SideRunner(**{argument: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "arguments",
    [{}, {"distribution": "test"}, {"distribution": "test", "view": 2}, {"horizon": 10}],
)
def test_solver_agrees_with_exhaustive_search_on_1000_levels(arguments: dict[str, Any]) -> None:
    assert_solved(SideRunner(**{"rows": 3, "columns": 8, "horizon": 14, **arguments}), 1_000)
