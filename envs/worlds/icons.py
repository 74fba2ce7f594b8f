"""The icons of the things in grid worlds."""

import numpy as np

from envs.rendering import AGENT, INK, Coordinates, Icon, Shape, disc

__all__ = ["AGENT", "CHEESE", "WALL"]


def rectangle(left: float, top: float, right: float, bottom: float) -> Shape:
    """Return a rectangle; x and y run from -1 to 1, downward."""
    return lambda x, y: (left < x) & (x < right) & (top < y) & (y < bottom)


def _wedge(x: Coordinates, y: Coordinates) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Return a wedge of cheese: a triangle whose right side is upright."""
    return (np.abs(y) < 0.55) & (x < 0.6) & (y > -0.55 + 0.5 * (0.6 - x)) & (x > -0.65)


WALL: Icon = ((rectangle(-1, -1, 1, 1), (92, 96, 108)),)
CHEESE: Icon = (
    (_wedge, (240, 188, 60)),
    (disc(0.3, 0.1, 0.13), (206, 148, 30)),
    (disc(-0.1, 0.32, 0.1), (206, 148, 30)),
    (disc(0.35, 0.4, 0.07), INK),
)
