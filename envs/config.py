"""Settings of the grid environments, as frozen records beside the code that reads them."""

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


@dataclass(frozen=True, kw_only=True, slots=True)
class NoiseConfig:
    """How often the overseer errs, in what a learner is told and a checkpoint is chosen by.

    Evaluation measures the truth. Methods that are paid the true reward hear nobody.
    """

    flips: float = 0.0
    """Share of observed reports that have the opposite sign."""
    missed: float = 0.0
    """Share of observed ghosts that are reported as diamonds; a report is flipped once at most."""
    lost: float = 0.0
    """Share of observed reports that never come: such a step pays as a hidden one."""
    unseen_rows: int = 0
    """Rows of the board, from the top, of which no report ever comes: a blind spot."""

    def __post_init__(self) -> None:
        """Refuse what is no share."""
        for name in ("flips", "missed", "lost"):
            if not 0 <= getattr(self, name) <= 1:  # false for NaN as well
                raise ValueError(f"noise.{name} must be from 0 to 1, got {getattr(self, name)}")

        if self.unseen_rows < 0:
            raise ValueError(f"noise.unseen_rows must not be negative, got {self.unseen_rows}")

    @property
    def silent(self) -> bool:
        """Whether the overseer never errs."""
        return self == NoiseConfig()
