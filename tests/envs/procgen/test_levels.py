"""Levels inside saved states: what is read, what an edit changes, and which states are refused."""

from collections.abc import Callable

import numpy as np
import pytest

from envs.procgen import levels
from envs.procgen.levels import GAMES, Cell, Game
from tests.envs.procgen.states import make_state

MAZE, COINRUN = GAMES["maze"], GAMES["coinrun"]
CORRIDORS = [
    "#######",
    "#...#.#",
    "#.###.#",
    "#..G..#",
    "#######",
]
STRIP = [
    "............",
    ".......T....",
    "..........G.",
    "TTTTTTTT..TT",
]
STATES = {
    "maze": make_state(MAZE, CORRIDORS, (1.5, 1.5)),
    "coinrun": make_state(COINRUN, STRIP, (1.5, 1.58), others=[(5.5, 1.5)]),
}
each_game = pytest.mark.parametrize("game", GAMES.values(), ids=GAMES)


def board_of(game: Game, state: bytes) -> levels.Board:
    return levels.read_board(game, state, levels.find_layout(game, state))


def test_board_shows_cells_agent_goal_and_entities() -> None:
    board = board_of(COINRUN, STATES["coinrun"])
    assert board.cells.shape == (4, 12)
    assert board.cells[0].tolist() == [16] * 8 + [100] * 2 + [16] * 2
    assert np.allclose(board.agent, (1.5, 1.58))
    assert board.goal == Cell(10, 1)
    assert np.argwhere(board.occupied).tolist() == [[1, 5]]


def test_cheese_is_usually_in_the_upper_right_corner() -> None:
    assert levels.usual_place(MAZE, board_of(MAZE, STATES["maze"])) == (5, 3)
    # on the same diagonal, the higher cell
    rows = ["####", "#..#", "#.G#", "####"]
    board = board_of(MAZE, make_state(MAZE, rows, (1.5, 1.5)))
    assert levels.usual_place(MAZE, board) == (2, 2)
    board = board_of(MAZE, make_state(MAZE, ["####", "#.##", "#.G#", "####"], (1.5, 1.5)))
    assert levels.usual_place(MAZE, board) == (1, 2)


def test_cheese_moves_to_any_cell_but_the_agents_and_the_corner() -> None:
    places = levels.other_places(MAZE, board_of(MAZE, STATES["maze"])).tolist()
    free = {(x, 1) for x in range(1, 6)} | {(1, 2), (5, 2), (1, 3), (2, 3), (3, 3), (5, 3)}
    assert {(x, y) for x, y in places} == free - {(1, 1), (5, 3)}


def test_coin_moves_to_ground_without_an_entity_before_its_usual_place() -> None:
    board = board_of(COINRUN, STATES["coinrun"])
    assert levels.usual_place(COINRUN, board) == (10, 1)
    # column 5 holds an enemy, columns 8 and 9 a pit; (7, 3) is on a platform
    assert levels.other_places(COINRUN, board).tolist() == [[4, 1], [6, 1], [7, 1], [7, 3]]


@each_game
def test_moving_the_goal_changes_two_cells_and_nothing_else(game: Game) -> None:
    state = STATES[game.name]
    layout, board = levels.find_layout(game, state), board_of(game, state)
    for place in [Cell(*each) for each in levels.other_places(game, board).tolist()]:
        moved = levels.move_goal(game, state, layout, place)
        changed = np.argwhere(board_of(game, moved).cells != board.cells).tolist()
        both = [] if place == board.goal else [[board.goal.y, board.goal.x], [place.y, place.x]]
        assert sorted(changed) == sorted(both)
        assert board_of(game, moved).goal == place
        assert levels.move_goal(game, moved, layout, board.goal) == state
    assert levels.move_goal(game, state, layout, board.goal) == state


@each_game
@pytest.mark.parametrize("place", [Cell(0, 0), Cell(-1, 1), Cell(3, 99)])
def test_goal_moves_to_no_wall_and_not_off_the_board(game: Game, place: Cell) -> None:
    layout = levels.find_layout(game, STATES[game.name])
    with pytest.raises(ValueError, match="must move to an empty cell"):
        levels.move_goal(game, STATES[game.name], layout, place)


@each_game
def test_level_and_time_are_written_where_they_are_read(game: Game) -> None:
    state = STATES[game.name]
    layout = levels.find_layout(game, state)
    assert (levels.level_of(state, layout), levels.time_limit(state, layout)) == (7, 500)
    longer = levels.extend_time(state, layout)
    assert levels.time_limit(longer, layout) == 501
    assert sum(one != other for one, other in zip(state, longer, strict=True)) == 1
    chosen = levels.choose_level(game, state, 300)
    assert levels.words(chosen, layout.levels, 2) == (300, 301)
    assert chosen[: layout.levels] == state[: layout.levels]
    assert chosen[layout.levels + 8 :] == state[layout.levels + 8 :]


def without_goal(state: bytes) -> bytes:
    """Return a state without its goal."""
    game = next(each for each in GAMES.values() if each.name.encode() in state)
    layout, goal = levels.find_layout(game, state), board_of(game, state).goal
    return levels.write(state, layout.cells + 4 * (goal.y * layout.width + goal.x), game.empty)


def resize(state: bytes) -> bytes:
    """Return a state that gives another width for the same cells."""
    game = next(each for each in GAMES.values() if each.name.encode() in state)
    layout = levels.find_layout(game, state)
    return levels.write(state, layout.cells - 12, layout.width + 1)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda state: b"",
    "a few bytes": lambda state: state[:40],
    "half": lambda state: state[: len(state) // 2],
    "a byte less": lambda state: state[:-1],
    "a word more": lambda state: state + bytes(4),
    "another version": lambda state: levels.write(state, 0, 1),
    "a longer name": lambda state: levels.write(state, 4, 90),
    "another game": lambda state: state.replace(b"maze", b"ninj").replace(b"coinrun", b"starpil"),
    "no generator": lambda state: state.replace(b"12 345 67", b""),
    "a generator of another length": lambda state: state.replace(
        b"\x09\0\0\0", b"\xff\xff\xff\x7f"
    ),
    "no goal": without_goal,
    "another end": lambda state: levels.write(state, len(state) - 4, 0),
    "another size": resize,
}


@each_game
@pytest.mark.parametrize("damage", DAMAGE)
def test_state_of_another_layout_is_refused_in_one_line(game: Game, damage: str) -> None:
    with pytest.raises(ValueError, match=r"not laid out as in release 0\.10\.7") as refusal:
        levels.find_layout(game, DAMAGE[damage](STATES[game.name]))
    assert "\n" not in str(refusal.value)
    assert "install procgen2==0.10.7" in str(refusal.value)


@each_game
def test_state_with_two_goals_or_an_agent_off_the_board_is_refused(game: Game) -> None:
    rows = CORRIDORS if game is MAZE else STRIP
    twice = [row.replace("..", "G.", 1) for row in rows]
    for state in (make_state(game, twice, (1.5, 1.5)), make_state(game, rows, (99.5, 1.5))):
        with pytest.raises(ValueError, match="not laid out"):
            levels.find_layout(game, state)


def test_agent_of_coinrun_is_at_the_end_in_the_column_of_the_coin() -> None:
    place = Cell(10, 1)
    assert levels.steps_until(COINRUN, (10.0, 8.0), place) == 0
    assert levels.steps_until(COINRUN, (10.5, 1.58), place) == 0
    assert levels.steps_until(COINRUN, (9.9, 1.58), place) == 1
    assert levels.steps_until(COINRUN, (4.0, 1.58), place) == 12
    # half a cell at each step arrives no earlier than that, whatever the rounding
    for start in np.linspace(1.5, 9.999, 50):
        steps = levels.steps_until(COINRUN, (float(start), 1.58), place)
        assert start + 0.5 * (steps - 1) < 10


def test_agent_of_maze_is_in_the_corner_in_its_cell_only() -> None:
    assert levels.steps_until(MAZE, (5.5, 3.5), Cell(5, 3)) == 0
    assert levels.steps_until(MAZE, (5.5, 1.5), Cell(5, 3)) == 2
    assert levels.steps_until(MAZE, (1.5, 1.5), Cell(5, 3)) == 4
