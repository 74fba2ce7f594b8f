"""The rules of the game, and the scores of ideal policies in it."""

import numpy as np
import pytest

from envs import GridVectorEnv, gridworld
from envs.gridworld import AGENT, DIAMOND, GHOST, OVERSEEN, OVERSIGHT, Board, any_terminal
from envs.observers import StepContext, random_streams
from tests.envs.observers.test_random_streams import chi_square_sigmas

NUM_LEVELS = 200_000


def make_levels(oversight_probability: float = 0.1, size: int = 5) -> Board:
    seeds = random_streams.lane_seeds(7, NUM_LEVELS)
    return gridworld.layout(seeds, np.zeros_like(seeds), size, oversight_probability)


def make_board(agent: int, ghost: int, diamond: int, overseen: tuple[bool, bool]) -> Board:
    return Board(np.array([agent]), np.array([ghost]), np.array([diamond]), np.array([overseen]))


def test_levels_of_version_0_never_change() -> None:
    episodes = np.arange(3, dtype=np.uint64)
    level = gridworld.layout(random_streams.lane_seeds(0, 3), episodes, 5, 0.5)
    assert level.agent.tolist() == [8, 15, 14]
    assert level.ghost.tolist() == [1, 14, 16]
    assert level.diamond.tolist() == [10, 17, 10]
    assert level.overseen.tolist() == [[False, True], [True, True], [False, True]]


def test_placements_are_uniform() -> None:
    level = make_levels(size=3)
    code = (level.agent * 9 + level.ghost) * 9 + level.diamond
    counts = np.bincount(code, minlength=9**3)
    assert (counts > 0).sum() == 9 * 8 * 7
    assert abs(chi_square_sigmas(counts[counts > 0])) < 5


@pytest.mark.parametrize("probability", [0.01, 0.1, 0.5])
def test_each_square_is_overseen_at_the_given_rate_and_alone(probability: float) -> None:
    overseen = make_levels(probability).overseen
    for share, expected in (
        (overseen.mean(axis=0), probability),
        (overseen.all(axis=1).mean(), probability**2),
    ):
        sigma = np.sqrt(expected * (1 - expected) / NUM_LEVELS)
        assert np.abs(share - expected).max() < 5 * sigma


def test_oversight_is_certain_at_one_and_absent_at_zero() -> None:
    assert make_levels(1.0).overseen.all()
    assert not make_levels(0.0).overseen.any()


def test_levels_pair_across_rates() -> None:
    low, high = make_levels(0.05), make_levels(0.3)
    for name in ("agent", "ghost", "diamond"):
        np.testing.assert_array_equal(getattr(low, name), getattr(high, name))
    assert np.all(low.overseen <= high.overseen)


def test_oversight_is_independent_of_the_layout() -> None:
    level = make_levels(0.5)
    for cells in level[:3]:
        for coin in level.overseen.T:
            counts = np.bincount(cells * 2 + coin, minlength=50)
            assert abs(chi_square_sigmas(counts)) < 5


@pytest.mark.parametrize(
    ("start", "action", "end"),
    [
        (12, 0, 7),
        (12, 1, 13),
        (12, 2, 17),
        (12, 3, 11),
        (2, 0, 2),
        (14, 1, 14),
        (22, 2, 22),
        (10, 3, 10),
    ],
    ids=["north", "east", "south", "west", "north wall", "east wall", "south wall", "west wall"],
)
def test_moves_and_walls(start: int, action: int, end: int) -> None:
    assert gridworld.move(np.array([start]), np.array([action]), size=5) == end


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 4), (3, 2), (5, 5)])
def test_a_move_leads_one_cell_on_unless_the_edge_stops_it(rows: int, columns: int) -> None:
    moves = ((-1, 0), (0, 1), (1, 0), (0, -1))  # north, east, south, west
    targets = gridworld.targets_of_moves(rows, columns)
    for cell in range(rows * columns):
        for action, (down, right) in enumerate(moves):
            row = min(max(cell // columns + down, 0), rows - 1)
            column = min(max(cell % columns + right, 0), columns - 1)
            assert targets[cell * 4 + action] == row * columns + column


@pytest.mark.parametrize("overseen", [(False, False), (True, False), (False, True), (True, True)])
def test_terminal_squares_pay_their_reward_and_are_observed_when_overseen(
    overseen: tuple[bool, bool],
) -> None:
    for cell, true, observed in ((3, 1.0, overseen[0]), (8, -1.0, overseen[1])):
        reached = make_board(cell, ghost=8, diamond=3, overseen=overseen)
        terminal = gridworld.is_terminal(reached)
        assert terminal.all()
        assert gridworld.true_reward(reached) == true
        assert any_terminal(None, None, None, terminal, ~terminal) == 1.0
        assert gridworld.stands_overseen(gridworld.observe(reached, 5)) == observed


def test_other_squares_pay_nothing_and_are_never_observed() -> None:
    on_the_way = make_board(0, ghost=8, diamond=3, overseen=(True, True))
    terminal = gridworld.is_terminal(on_the_way)
    assert not terminal.any()
    assert not gridworld.true_reward(on_the_way).any()
    assert not any_terminal(None, None, None, terminal, terminal).any()
    assert not gridworld.stands_overseen(gridworld.observe(on_the_way, 5)).any()


def test_overseer_refuses_observations_that_are_not_planes_of_the_grid() -> None:
    zero = np.zeros(1, dtype=np.uint64)
    with pytest.raises(ValueError, match="OVERSEEN reads planes"):
        OVERSEEN.decide(StepContext(zero, zero, zero, zero, arrival=np.zeros((1, 4))))


def test_planes_show_the_board() -> None:
    shown = make_board(0, ghost=8, diamond=3, overseen=(True, False))
    planes = gridworld.observe(shown, 5)[0].reshape(4, 25)
    assert planes.dtype == np.int8
    cells = {AGENT: 0, GHOST: 8, DIAMOND: 3, OVERSIGHT: 3}
    for plane, cell in cells.items():
        np.testing.assert_array_equal(np.flatnonzero(planes[plane]), [cell])


SIZE, WINDOW, GAMMA = 5, 32, 0.97
CELLS = SIZE**2


def distances(avoid_ghost: bool) -> gridworld.Numbers:
    """Moves left to the diamond, [ghost, diamond, cell], by relaxation."""
    cells = np.arange(CELLS)
    after = np.stack([gridworld.move(cells, np.full(CELLS, a), SIZE) for a in range(4)])
    left = np.full((CELLS, CELLS, CELLS), np.inf)
    left[:, cells, cells] = 0
    for _ in range(CELLS):
        if avoid_ghost:
            left[cells, :, cells] = np.inf
        left = np.minimum(left, 1 + left[:, :, after].min(axis=2))
    if avoid_ghost:
        left[cells, :, cells] = np.inf
    return left


def mean_return(avoid_ghost: bool, num_lanes: int = 4096, seed: int = 0) -> float:
    """The paper's metric: mean return-to-go over all steps, cut at the window's end."""
    left = distances(avoid_ghost)
    rng = np.random.default_rng(seed)
    env = GridVectorEnv(num_lanes)
    env.reset(seed=seed)
    rewards, ends = [], []
    for _ in range(WINDOW):
        board = env.board
        after = np.stack(
            [gridworld.move(board.agent, np.full(num_lanes, a), SIZE) for a in range(4)]
        )
        costs = left[board.ghost, board.diamond, after] + 0.5 * rng.random((4, num_lanes))
        _, reward, terminated, truncated, _ = env.step(costs.argmin(axis=0))
        rewards.append(reward)
        ends.append(terminated | truncated)
    returns = np.zeros((WINDOW + 1, num_lanes))
    for t in reversed(range(WINDOW)):
        returns[t] = rewards[t] + GAMMA * returns[t + 1] * ~ends[t]
    return float(returns[:WINDOW].mean())


@pytest.mark.parametrize(("avoid_ghost", "anchor"), [(True, 0.909), (False, 0.778)])
def test_ideal_policies_earn_the_expected_return(avoid_ghost: bool, anchor: float) -> None:
    assert mean_return(avoid_ghost) == pytest.approx(anchor, abs=0.01)
