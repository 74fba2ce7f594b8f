"""Rendering of the grid: as text, and as RGB frames drawn with NumPy."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from envs.gridworld import Board

Frame = NDArray[np.uint8]
Coordinates = NDArray[np.float64]
Shape = Callable[[Coordinates, Coordinates], NDArray[np.bool_]]
Icon = tuple[tuple[Shape, tuple[int, int, int]], ...]

CELL = 32  # pixels
_OVERSAMPLE = 8  # sample points for each pixel and axis, averaged for smooth edges


def frames(board: Board, size: int, mode: str) -> tuple[Frame | str, ...]:
    """Render every lane of a board, as text if the mode is `"ansi"` and else as images."""
    picture = draw if mode == "rgb_array" else write
    return tuple(picture(*lane, size=size) for lane in zip(*board, strict=True))


def write(agent: int, ghost: int, diamond: int, overseen: Sequence[bool], size: int) -> str:
    """Render a board as text: A agent, D diamond, G ghost; overseen squares are in brackets."""
    rows = [[" . "] * size for _ in range(size)]
    is_overseen = dict(zip((diamond, ghost), overseen, strict=True))
    for cell, letter in ((diamond, "D"), (ghost, "G"), (agent, "A")):
        rows[cell // size][cell % size] = f"[{letter}]" if is_overseen.get(cell) else f" {letter} "
    return "\n".join("".join(row) for row in rows)


def draw(agent: int | None, ghost: int, diamond: int, overseen: Sequence[bool], size: int) -> Frame:
    """Render a board as an image.

    Args:
        agent: The agent's cell, row * size + column, or None for a board without one.
        ghost: The ghost's cell.
        diamond: The diamond's cell.
        overseen: Whether the diamond's and the ghost's square are overseen.
        size: Rows, and columns, of the grid.

    Returns:
        RGB, [32 * size + 1, 32 * size + 1, 3]. An overseen square is lit and shows an eye.
    """
    things = (diamond, DIAMOND, overseen[0]), (ghost, GHOST, overseen[1]), (agent, AGENT, False)
    return draw_icons(
        size,
        size,
        [
            (divmod(int(cell), size), (*_OVERSEEN, *icon) if lit else icon)
            for cell, icon, lit in things
            if cell is not None
        ],
    )


def draw_icons(rows: int, columns: int, icons: Sequence[tuple[tuple[int, int], Icon]]) -> Frame:
    """Draw icons on a board, each at its row and column, from back to front.

    Returns:
        RGB, [32 * rows + 1, 32 * columns + 1, 3].
    """
    frame = np.empty((rows * CELL + 1, columns * CELL + 1, 3))
    frame[:] = _FLOOR
    frame[::CELL] = _LINE
    frame[:, ::CELL] = _LINE
    for (row, column), icon in icons:
        top, left = row * CELL, column * CELL
        tile = frame[top + 1 : top + CELL, left + 1 : left + CELL]
        for shape, color in icon:
            alpha = _coverage(shape)[..., None]
            tile += alpha * (color - tile)
    return np.rint(frame).astype(np.uint8)


@cache
def _coverage(shape: Shape) -> NDArray[np.float64]:
    """Return the share of each pixel of a tile that a shape covers; x and y run from -1 to 1."""
    side = CELL - 1
    half_step = 1 / (side * _OVERSAMPLE)
    points = np.linspace(half_step - 1, 1 - half_step, side * _OVERSAMPLE)
    inside = shape(points[None, :], points[:, None])
    share: Coordinates = inside.reshape(side, _OVERSAMPLE, side, _OVERSAMPLE).mean(axis=(1, 3))
    return share


def disc(x: float, y: float, radius: float) -> Shape:
    """Return a disc around a point of a tile; x and y run from -1 to 1, downward."""
    return lambda u, v: (u - x) ** 2 + (v - y) ** 2 < radius**2


def rhombus(width: float, top: float, bottom: float) -> Shape:
    """Return a rhombus around the middle of a tile, of half a width, from top to bottom."""
    return lambda u, v: (
        (top < v) & (v < bottom) & (np.abs(u) < width * np.minimum(1 - v / bottom, 1 - v / top))
    )


def _sheet(u: Coordinates, v: Coordinates) -> NDArray[np.bool_]:
    """Return the ghost's outline: a half disc on a body with a wavy hem."""
    head = u**2 + (v + 0.1) ** 2 < 0.55**2
    body = (np.abs(u) < 0.55) & (v > -0.1) & (v < 0.58 + 0.09 * np.cos(u * np.pi * 3 / 0.55))
    return head | body


def _frame(u: Coordinates, v: Coordinates) -> NDArray[np.bool_]:
    return np.maximum(np.abs(u), np.abs(v)) > 0.9


def _almond(u: Coordinates, v: Coordinates) -> NDArray[np.bool_]:
    """Return an eye in the upper right corner."""
    return np.abs(v + 0.66) < 0.17 * (1 - ((u - 0.58) / 0.27) ** 2)


_FLOOR = (250, 249, 246)
_LINE = (205, 203, 197)
INK = (45, 48, 58)
WHITE = (255, 255, 255)
_AMBER = (226, 152, 20)

# Layers from back to front.
AGENT: Icon = ((disc(0, 0, 0.54), WHITE), (disc(0, 0, 0.45), (214, 84, 62)))
DIAMOND: Icon = (
    (rhombus(0.56, -0.62, 0.62), (38, 132, 176)),
    (rhombus(0.26, -0.62, 0.62), (134, 204, 230)),
)
GHOST: Icon = (
    (_sheet, (122, 108, 160)),
    (disc(-0.21, -0.12, 0.15), WHITE),
    (disc(0.21, -0.12, 0.15), WHITE),
    (disc(-0.18, -0.1, 0.07), INK),
    (disc(0.24, -0.1, 0.07), INK),
)
_OVERSEEN: Icon = (
    (lambda u, v: np.maximum(np.abs(u), np.abs(v)) <= 1, (255, 240, 190)),
    (_frame, _AMBER),
    (_almond, INK),
    (disc(0.58, -0.66, 0.09), (255, 205, 70)),
)
