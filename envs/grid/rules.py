"""The rules one grid game is built with, checked once."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

Flag = Literal["visible", "hidden"]
Reward = Literal["observed", "proxy", "true"]


@dataclass(frozen=True)
class Rules:
    """The size of a game, who watches it, and what it pays.

    Args:
        size: Rows, and columns, of the square grid.
        horizon: Steps after which an episode is cut off.
        oversight_probability: Chance that a terminal square is overseen, one coin per square.
        flag: Whether the agent sees which squares are overseen.
        reward: Which reward the environment pays.

    Raises:
        ValueError: If an argument is out of its range.
    """

    size: int
    horizon: int
    oversight_probability: float
    flag: Flag
    reward: Reward

    def __post_init__(self) -> None:
        # Above 100 the draw of three cells from one 64-bit word would be visibly uneven.
        if not isinstance(self.size, int | np.integer) or not 2 <= self.size <= 100:
            raise ValueError(
                f"size must be an integer from 2 to 100 (three distinct cells must fit), "
                f"got {self.size!r}"
            )
        if not isinstance(self.horizon, int | np.integer) or self.horizon < 1:
            raise ValueError(f"horizon must be an integer of at least 1, got {self.horizon!r}")
        if not 0 <= self.oversight_probability <= 1:  # false for NaN as well
            raise ValueError(
                f"oversight_probability must be from 0 to 1, got {self.oversight_probability!r}"
            )
        if self.flag not in get_args(Flag):
            raise ValueError(f"flag must be one of {get_args(Flag)}, got {self.flag!r}")
        if self.reward not in get_args(Reward):
            raise ValueError(f"reward must be one of {get_args(Reward)}, got {self.reward!r}")
