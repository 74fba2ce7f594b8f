"""Settings of the grid environments, in one frozen record beside the code that reads them."""

from dataclasses import dataclass

from envs.grid.rules import Flag


@dataclass(frozen=True, kw_only=True, slots=True)
class GridConfig:
    """The board, its time limit, and whether the agent sees who is watched."""

    size: int = 5
    """Rows and columns of the board."""
    horizon: int = 32
    """Steps after which an episode is cut."""
    flag: Flag = "visible"
    """Whether the observation shows which squares are overseen."""
