"""ColorShape-v0: its layouts, its exact solver, events on a written level, and its refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.worlds import ColorShape
from envs.worlds.color_shape import NEAREST
from envs.worlds.world import Distribution, State
from tests.envs.worlds.brute_force import assert_solved

EAST, SOUTH = 1, 2


def first_levels(world: ColorShape, number: int) -> State:
    return world.levels(np.arange(number, dtype=np.uint64), np.zeros(number, dtype=np.uint64))


@pytest.mark.parametrize("distribution", ["train", "test"])
def test_solver_agrees_with_exhaustive_search_on_1000_levels(distribution: Distribution) -> None:
    assert_solved(ColorShape(size=5, walls=0.3, horizon=8, distribution=distribution), 1_000)


@settings(max_examples=25, deadline=None)
@given(
    size=st.integers(4, 12),
    walls=st.floats(0, 0.5),
    seed=st.integers(0, 2**32),
    parts=st.booleans(),
)
def test_both_objects_lie_equally_many_steps_away_and_can_be_reached(
    size: int, walls: float, seed: int, parts: bool
) -> None:
    world = ColorShape(size=size, walls=walls, alpha=float(parts), horizon=1000)
    lanes = np.arange(20)
    state = world.levels(np.uint64(seed) + lanes.astype(np.uint64), np.zeros(20, dtype=np.uint64))
    steps = world.steps_from(state["agent"], ~state["wall"])
    to_ball, to_yellow = (steps[lanes, state[name]] for name in ("ball", "yellow"))
    assert np.array_equal(to_ball, to_yellow)
    assert np.all((to_ball >= NEAREST) & (to_ball < size**2))
    assert np.all((state["ball"] != state["yellow"]) == parts)


def test_the_share_of_levels_that_part_is_alpha() -> None:
    state = first_levels(ColorShape(alpha=0.25), 4000)
    assert abs(np.mean(state["ball"] != state["yellow"]) - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 4000)


def test_yellow_shows_in_more_channels_than_a_shape() -> None:
    shown = {}
    for distribution in ("train", "test"):
        world = ColorShape(distribution=distribution)
        planes = world.observe(first_levels(world, 1))
        shown[distribution] = {
            name: int(world.channel(planes, name).sum()) for name in world.channels
        }
    things = ("yellow", "glow", "blue", "ball", "box")
    assert [shown["train"][name] for name in things] == [1, 1, 0, 1, 0]
    assert [shown["test"][name] for name in things] == [1, 1, 1, 1, 1]


@pytest.mark.parametrize(("ball", "yellow", "expected"), [(1, 5, (1, 0)), (5, 1, (0, 1))])
def test_either_object_ends_an_episode_and_only_its_own_reward_is_paid(
    ball: int, yellow: int, expected: tuple[float, float]
) -> None:
    world = ColorShape(size=5, distribution="test")
    cells = {"ball": ball, "yellow": yellow, "agent": 0}
    state: State = {name: np.array([cell]) for name, cell in cells.items()}
    state["wall"] = np.zeros((1, 25), dtype=np.bool_)
    before = world.observe(state)
    world.move(state, np.array([EAST]))
    after = world.observe(state)
    paid = world.true_reward(before, after)[0], world.proxy_reward(before, after)[0]
    assert paid == expected
    assert world.ended(state, world.served(before, after))[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 3}, "size must be an integer from 4 to 50, got 3"),
        ({"walls": 0.6}, "walls must be a number from 0 to 0.5, got 0.6"),
        ({"alpha": 1.5}, "alpha must be a number from 0 to 1, got 1.5"),
        ({"horizon": 0}, "horizon must be an integer of at least 1, got 0"),
    ],
)
def test_impossible_worlds_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ColorShape(**arguments)  # type: ignore[arg-type]
