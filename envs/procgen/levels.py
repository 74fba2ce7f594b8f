"""Levels of Procgen's CoinRun and Maze inside the states that the game saves, and how to edit them.

Procgen 0.10.7 has no option for the place of the goal, but `get_state` returns all that a game is
as bytes, and `set_state` continues with other bytes. So a level is drawn by writing its number into
a state whose game is then reset, and the goal moves by writing two cells of the board. These bytes
have no public format. Everything here checks the parts that it relies on, and a state of another
layout is refused.

A state is, as little-endian 32-bit words: a version, the game's name, 13 options, the first and the
last level plus one, two words, two random generators (a word and a text each), 15 scalars, the
number of cells, the number of entities, 31 words for each entity (the agent comes first, and x, y,
vx, vy, rx and ry come first in each), the rest of the game, the width and the height of the board,
the number of cells, the cells from the bottom row to the top, and a trailer that ends in a
constant. This module needs no package of Procgen.
"""

import struct
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.observers.observer import Mask

OPTIONS, SCALARS, ENTITY = 13, 15, 31
"""Words of the options, of the scalars and of an entity."""
TIMEOUT, LEVEL = 4, 5
"""Numbers of two scalars: the step that ends an episode, and the number of the level."""
END = 0xCAFECAFE - 2**32
"""The last word of a state."""
LONGEST = 2**14
"""Bytes that the text of a random generator never exceeds."""
WALL_TOP = 16
"""The cell of CoinRun on which an agent can stand."""
FIRST_COLUMN = 4
"""The first column of CoinRun in which a moved coin may lie."""
SLACK = 0.01
"""Rounding of the agent's steps is far below this part of a cell."""


@dataclass(frozen=True, slots=True)
class Game:
    """What the levels of a game look like.

    Attributes:
        name: name in Procgen.
        goal: code of the goal's cell.
        empty: code of a cell without anything.
        trailer: bytes after the board.
        agent_height: half the agent's height in cells.
        speed: cells that an agent moves in a step at most, along either axis.
    """

    name: str
    goal: int
    empty: int
    trailer: int
    agent_height: float
    speed: float


GAMES = {
    "coinrun": Game("coinrun", goal=1, empty=100, trailer=32, agent_height=0.5787, speed=0.5),
    "maze": Game("maze", goal=2, empty=100, trailer=12, agent_height=0.5, speed=1.0),
}


class Cell(NamedTuple):
    """A cell of a board; y grows upward."""

    x: int
    y: int


class Layout(NamedTuple):
    """Where the parts of a state begin, in bytes, and how many there are."""

    levels: int
    scalars: int
    entities: int
    num_entities: int
    cells: int
    width: int
    height: int


class Board(NamedTuple):
    """What a state shows of its level.

    Attributes:
        cells: codes of the cells, [height, width], from the bottom row up.
        occupied: cells in which an entity other than the agent is, [height, width].
        agent: x and y of the agent's center, in cells.
        goal: cell of the goal.
    """

    cells: NDArray[np.int32]
    occupied: Mask
    agent: tuple[float, float]
    goal: Cell


def find_layout(game: Game, state: bytes) -> Layout:
    """Return where the parts of a state are.

    Raises:
        ValueError: If it is not laid out as by Procgen 0.10.7.
    """
    try:
        layout = _scan(game, state)
    except (struct.error, OverflowError):
        layout = None
    if layout is None:
        raise ValueError(
            f"the saved state of Procgen's {game.name} is not laid out as in release 0.10.7, so "
            "that its goal cannot be moved: install procgen2==0.10.7"
        )
    return layout


def _scan(game: Game, state: bytes) -> Layout | None:
    """Return the layout of a state, or None if something is not where it should be."""
    name = game.name.encode()
    header = struct.pack("<ii", 0, len(name)) + name
    levels = len(header) + 4 * OPTIONS
    place = levels + 16
    for _ in range(2):  # the generators of levels and of what happens in them
        seeded, length = words(state, place, 2)
        if seeded != 1 or not 0 < length <= LONGEST:
            return None
        place += 8 + length
    entities = place + 4 * SCALARS + 8
    num_cells, num_entities = words(state, entities - 8, 2)
    cells = len(state) - game.trailer - 4 * num_cells
    if not (0 < num_entities < LONGEST and 0 < num_cells < LONGEST):
        return None
    if not entities + 4 * ENTITY * num_entities <= cells - 12:
        return None
    width, height, again = words(state, cells - 12, 3)
    x, y, _, _, *size = struct.unpack_from("<6f", state, entities)
    right = (
        state.startswith(header)
        and words(state, len(state) - 4, 1) == (END,)
        and width * height == again == num_cells
        and np.allclose(size, (0.5, game.agent_height))
        and 0 <= x < width
        and 0 <= y < height
    )
    found = Layout(levels, place, entities, num_entities, cells, width, height)
    return found if right and (_cells(state, found) == game.goal).sum() == 1 else None


def words(state: bytes, place: int, number: int) -> tuple[int, ...]:
    """Return some integers of a state; a place outside it raises `struct.error`."""
    if place < 0:
        raise struct.error("a place before the first byte")
    return struct.unpack_from(f"<{number}i", state, place)


def write(state: bytes, place: int, *values: int) -> bytes:
    """Return a state with other integers from a place on."""
    edited = bytearray(state)
    struct.pack_into(f"<{len(values)}i", edited, place, *values)
    return bytes(edited)


def _cells(state: bytes, layout: Layout) -> NDArray[np.int32]:
    """Return the codes of the cells, [height, width], which cannot be written to."""
    number = layout.width * layout.height
    flat = np.frombuffer(state, dtype="<i4", count=number, offset=layout.cells)
    return flat.reshape(layout.height, layout.width)


def choose_level(game: Game, state: bytes, level: int) -> bytes:
    """Return a state whose game draws a level at its next reset."""
    return write(state, find_layout(game, state).levels, level, level + 1)


def level_of(state: bytes, layout: Layout) -> int:
    """Return the number of a state's level."""
    return words(state, layout.scalars + 4 * LEVEL, 1)[0]


def time_limit(state: bytes, layout: Layout) -> int:
    """Return the step with which the game ends an episode."""
    return words(state, layout.scalars + 4 * TIMEOUT, 1)[0]


def extend_time(state: bytes, layout: Layout) -> bytes:
    """Return a state whose game ends an episode one step later.

    Procgen draws no picture of the state in which an episode ends. With the additional step, the
    environment can cut the episode at the game's own limit, and has a picture of its last state.
    """
    return write(state, layout.scalars + 4 * TIMEOUT, time_limit(state, layout) + 1)


def read_board(game: Game, state: bytes, layout: Layout) -> Board:
    """Return what a state shows of its level."""
    cells = _cells(state, layout)
    number = layout.num_entities * ENTITY
    entities = np.frombuffer(state, dtype="<f4", count=number, offset=layout.entities)
    places = entities.reshape(-1, ENTITY)[:, :2]
    inside = np.floor(places[1:]).astype(np.intp).clip(0, (layout.width - 1, layout.height - 1))
    occupied = np.zeros(cells.shape, dtype=np.bool_)
    occupied[inside[:, 1], inside[:, 0]] = True
    y, x = np.argwhere(cells == game.goal)[0]
    agent = float(places[0, 0]), float(places[0, 1])
    return Board(cells, occupied, agent, Cell(int(x), int(y)))


def usual_place(game: Game, board: Board) -> Cell:
    """Return where the goal is in training levels.

    In CoinRun that is where the game itself puts the coin, at the end of the level. The cheese of
    Maze has no usual place in the game, and is put into the upper right corner: the cell with the
    largest sum of x and y, and the highest of these.
    """
    if game.name == "coinrun":
        return board.goal
    free = _free(game, board)
    x, y = free[np.lexsort((free[:, 1], free.sum(axis=1)))[-1]].tolist()
    return Cell(x, y)


def other_places(game: Game, board: Board) -> NDArray[np.intp]:
    """Return the cells to which the goal may move, [cells, 2]: x and y of each.

    In Maze these are all cells but the agent's and the usual one; a maze is connected. In CoinRun
    they are the empty cells on the ground without an enemy, saw or crate in them, from the fourth
    column to the second before the coin; Procgen makes the ground such that an agent can pass it.
    """
    if game.name == "maze":
        free = _free(game, board)
        others: NDArray[np.intp] = free[(free != usual_place(game, board)).any(axis=1)]
        return others
    cells = board.cells
    ground = np.zeros(cells.shape, dtype=np.bool_)
    ground[1:] = (cells[1:] == game.empty) & (cells[:-1] == WALL_TOP) & ~board.occupied[1:]
    ground[:, :FIRST_COLUMN] = False
    ground[:, max(board.goal.x - 1, 0) :] = False
    places: NDArray[np.intp] = np.argwhere(ground)[:, ::-1]
    return places


def _free(game: Game, board: Board) -> NDArray[np.intp]:
    """Return the cells of a maze that are no wall, except the agent's, [cells, 2]: x and y."""
    free = (board.cells == game.empty) | (board.cells == game.goal)
    x, y = board.agent
    free[int(y), int(x)] = False
    return np.argwhere(free)[:, ::-1]


def move_goal(game: Game, state: bytes, layout: Layout, place: Cell) -> bytes:
    """Return a state with the goal in another cell.

    Raises:
        ValueError: If the cell is neither empty nor the goal's own.
    """
    cells = _cells(state, layout).copy()
    inside = 0 <= place.x < layout.width and 0 <= place.y < layout.height
    if not inside or cells[place.y, place.x] not in (game.empty, game.goal):
        raise ValueError(f"the goal of {game.name} must move to an empty cell, got {place}")
    cells[cells == game.goal] = game.empty
    cells[place.y, place.x] = game.goal
    end = layout.cells + cells.nbytes
    return state[: layout.cells] + cells.tobytes() + state[end:]


def steps_until(game: Game, agent: tuple[float, float], place: Cell) -> int:
    """Return a number of steps in which an agent cannot reach a place earlier, 0 if it is there.

    In CoinRun, where a wall follows the usual place, the agent is there if its center is in the
    column of that place; in Maze, if it is in the cell.
    """
    x, y = agent
    if game.name == "coinrun":
        distance = place.x - x
        return 0 if distance <= 0 else max(1, int(np.ceil((distance - SLACK) / game.speed)))
    return max(abs(int(x) - place.x), abs(int(y) - place.y))
