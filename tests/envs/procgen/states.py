"""Saved states of Procgen's games, made by hand, so that reading and editing them needs no game."""

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from envs.procgen.levels import END, ENTITY, OPTIONS, SCALARS, Game

LETTERS = {".": 100, "#": 51, "T": 16}
"""Codes of an empty cell, of a wall of Maze, and of CoinRun's ground; G is the goal."""


def read_cells(game: Game, rows: Sequence[str]) -> NDArray[np.int32]:
    """Return the codes of a drawn board, whose last row is the bottom."""
    letters = LETTERS | {"G": game.goal}
    return np.array([[letters[each] for each in row] for row in rows[::-1]], dtype=np.int32)


def make_state(
    game: Game,
    rows: Sequence[str],
    agent: tuple[float, float],
    others: Sequence[tuple[float, float]] = (),
    level: int = 7,
) -> bytes:
    """Return a state with a drawn board, an agent, and other entities."""
    cells = read_cells(game, rows)
    height, width = cells.shape
    name = game.name.encode()
    generator = b"".join([struct.pack("<ii", 1, 9), b"12 345 67"])
    scalars = [0] * SCALARS
    scalars[4:6] = 500, level
    entities = np.zeros((1 + len(others), ENTITY), dtype="<f4")
    entities[:, :2] = [agent, *others]
    entities[:, 4] = 0.5
    entities[0, 5] = game.agent_height
    return b"".join(
        [
            struct.pack("<ii", 0, len(name)),
            name,
            bytes(4 * OPTIONS),
            struct.pack("<4i", 0, 1, 0, 0),
            generator * 2,
            struct.pack(f"<{SCALARS}i", *scalars),
            struct.pack("<ii", cells.size, len(entities)),
            entities.tobytes(),
            bytes(100),  # the rest of the game
            struct.pack("<3i", width, height, cells.size),
            cells.tobytes(),
            bytes(game.trailer - 4),
            struct.pack("<i", END),
        ]
    )
