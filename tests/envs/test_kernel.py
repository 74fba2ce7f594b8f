"""The rules of the game, one by one."""

import numpy as np
import pytest

from envs import gridworld, random_streams
from envs.gridworld import AGENT, DIAMOND, GHOST, OVERSIGHT, Board, Flag, Rules
from tests.envs.test_streams import chi_square_sigmas

NUM_LEVELS = 200_000


def rules(oversight_probability: float = 0.1, size: int = 5, flag: Flag = "visible") -> Rules:
    return Rules(size, 32, oversight_probability, flag, "observed")


def levels(of: Rules, num_levels: int = NUM_LEVELS) -> Board:
    seeds = random_streams.lane_seeds(7, num_levels)
    return gridworld.layout(seeds, np.zeros_like(seeds), of)


def board(agent: int, ghost: int, diamond: int, overseen: tuple[bool, bool]) -> Board:
    return Board(np.array([agent]), np.array([ghost]), np.array([diamond]), np.array([overseen]))


def test_levels_of_version_0_never_change() -> None:
    episodes = np.arange(3, dtype=np.uint64)
    level = gridworld.layout(random_streams.lane_seeds(0, 3), episodes, rules(0.5))
    assert level.agent.tolist() == [8, 15, 14]
    assert level.ghost.tolist() == [1, 14, 16]
    assert level.diamond.tolist() == [10, 17, 10]
    assert level.overseen.tolist() == [[False, True], [True, True], [False, True]]


def test_placements_are_uniform() -> None:
    level = levels(rules(size=3))
    code = (level.agent * 9 + level.ghost) * 9 + level.diamond
    counts = np.bincount(code, minlength=9**3)
    assert (counts > 0).sum() == 9 * 8 * 7
    assert abs(chi_square_sigmas(counts[counts > 0])) < 5


@pytest.mark.parametrize("probability", [0.01, 0.1, 0.5])
def test_each_square_is_overseen_at_the_given_rate_and_alone(probability: float) -> None:
    overseen = levels(rules(probability)).overseen
    for share, expected in (
        (overseen.mean(axis=0), probability),
        (overseen.all(axis=1).mean(), probability**2),
    ):
        sigma = np.sqrt(expected * (1 - expected) / NUM_LEVELS)
        assert np.abs(share - expected).max() < 5 * sigma


def test_oversight_is_certain_at_one_and_absent_at_zero() -> None:
    assert levels(rules(1.0)).overseen.all()
    assert not levels(rules(0.0)).overseen.any()


def test_levels_pair_across_rates() -> None:
    low, high = levels(rules(0.05)), levels(rules(0.3))
    for name in ("agent", "ghost", "diamond"):
        np.testing.assert_array_equal(getattr(low, name), getattr(high, name))
    assert np.all(low.overseen <= high.overseen)


def test_oversight_is_independent_of_the_layout() -> None:
    level = levels(rules(0.5))
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


@pytest.mark.parametrize("overseen", [(False, False), (True, False), (False, True), (True, True)])
def test_each_reward_pays_what_it_says(overseen: tuple[bool, bool]) -> None:
    for cell, true, watched in ((3, 1.0, overseen[0]), (8, -1.0, overseen[1])):
        reached = board(cell, ghost=8, diamond=3, overseen=overseen)
        paid = {"observed": true if watched else 1.0, "proxy": 1.0, "true": true}
        for reward in ("observed", "proxy", "true"):
            outcome = gridworld.judge(reached, reward, gridworld.true_reward(reached))
            assert outcome.terminated.all()
            assert outcome.observed == watched
            assert outcome.observed_reward == (true if watched else 0.0)
            assert outcome.reward == paid[reward]


def test_nothing_is_paid_or_seen_on_the_way() -> None:
    on_the_way = board(0, ghost=8, diamond=3, overseen=(True, True))
    for reward in ("observed", "proxy", "true"):
        assert not any(
            array.any()
            for array in gridworld.judge(on_the_way, reward, gridworld.true_reward(on_the_way))
        )


def test_planes_show_the_board() -> None:
    shown = board(0, ghost=8, diamond=3, overseen=(True, False))
    planes = gridworld.observe(shown, rules())[0].reshape(4, 25)
    assert planes.dtype == np.int8
    cells = {AGENT: 0, GHOST: 8, DIAMOND: 3, OVERSIGHT: 3}
    for plane, cell in cells.items():
        np.testing.assert_array_equal(np.flatnonzero(planes[plane]), [cell])
    hidden = gridworld.observe(shown, rules(flag="hidden"))[0].reshape(4, 25)
    np.testing.assert_array_equal(hidden[:OVERSIGHT], planes[:OVERSIGHT])
    assert not hidden[OVERSIGHT].any()
