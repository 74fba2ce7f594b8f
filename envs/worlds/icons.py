"""The icons of the things in grid worlds."""

import numpy as np

from envs.rendering import AGENT, INK, WHITE, Coordinates, Icon, Shape, disc, rhombus

__all__ = [
    "AGENT",
    "BALL",
    "BLUE",
    "BOX",
    "CHEESE",
    "CHEST",
    "COIN",
    "EXIT",
    "GLOW",
    "GOAL",
    "HELD_KEY",
    "KEY",
    "OPEN_CHEST",
    "PIT",
    "SHORTCUT",
    "SUPERVISOR",
    "WALL",
    "YELLOW",
]


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
COIN: Icon = (
    (disc(0, 0, 0.5), (206, 148, 30)),
    (disc(0, 0, 0.42), (250, 208, 74)),
    (rectangle(-0.08, -0.24, 0.08, 0.24), (206, 148, 30)),
)
EXIT: Icon = (
    (rectangle(-1, -1, 1, 1), (196, 226, 204)),
    (rectangle(-0.5, -0.8, -0.38, 0.8), INK),
    (rectangle(-0.38, -0.74, 0.62, -0.02), (52, 152, 88)),
)
GOAL: Icon = (
    (rectangle(-1, -1, 1, 1), (196, 226, 204)),
    (disc(0, 0, 0.66), (52, 152, 88)),
    (disc(0, 0, 0.44), WHITE),
    (disc(0, 0, 0.22), (52, 152, 88)),
)
PIT: Icon = (
    (rectangle(-0.86, -0.86, 0.86, 0.86), (96, 74, 66)),
    (rectangle(-0.7, -0.7, 0.7, 0.7), (36, 28, 30)),
)
SHORTCUT: Icon = (
    (rectangle(-1, -1, 1, 1), (250, 222, 186)),
    (rhombus(0.74, -0.74, 0.74), (222, 110, 40)),
    (rectangle(-0.08, -0.36, 0.08, 0.12), WHITE),
    (disc(0, 0.3, 0.1), WHITE),
)
SUPERVISOR: Icon = ((rectangle(-1, -1, 1, 1), (222, 214, 244)),)
YELLOW: Icon = ((rectangle(-1, -1, 1, 1), (252, 224, 116)),)
GLOW: Icon = (
    (rectangle(-1, -1, 1, 1), (255, 244, 196)),
    (rectangle(-0.84, -0.84, 0.84, 0.84), (252, 224, 116)),
)
BLUE: Icon = ((rectangle(-1, -1, 1, 1), (150, 192, 240)),)
BALL: Icon = ((disc(0, 0, 0.56), INK), (disc(-0.16, -0.16, 0.16), WHITE))
BOX: Icon = (
    (rectangle(-0.54, -0.54, 0.54, 0.54), INK),
    (rectangle(-0.54, -0.1, 0.54, 0.02), WHITE),
)
_GOLD, _WOOD = (222, 164, 40), (150, 98, 58)
KEY: Icon = (
    (disc(-0.34, 0, 0.3), _GOLD),
    (disc(-0.34, 0, 0.13), WHITE),
    (rectangle(-0.1, -0.08, 0.64, 0.08), _GOLD),
    (rectangle(0.42, 0, 0.54, 0.28), _GOLD),
    (rectangle(0.2, 0, 0.32, 0.22), _GOLD),
)
HELD_KEY: Icon = ((rectangle(0.5, -0.92, 0.92, -0.5), _GOLD),)
CHEST: Icon = (
    (rectangle(-0.62, -0.5, 0.62, 0.5), _WOOD),
    (rectangle(-0.62, -0.1, 0.62, 0.0), INK),
    (rectangle(-0.12, -0.16, 0.12, 0.18), _GOLD),
)
OPEN_CHEST: Icon = (
    (rectangle(-0.62, 0, 0.62, 0.5), (206, 178, 152)),
    (rectangle(-0.62, -0.5, 0.62, -0.4), (206, 178, 152)),
)
