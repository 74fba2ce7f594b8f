"""How a job of a sweep ended, whatever it was."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended.

    Attributes:
        id: of the job.
        error: one line, or None if none occurred.
        interrupted: whether it was asked to stop, and can go on.
    """

    id: str
    error: str | None = None
    interrupted: bool = False


def one_line(error: Exception) -> str:
    """Return an error in one line, with its name if it is not the user's."""
    line = " ".join(str(error).split())
    if isinstance(error, ValueError):
        return line
    return f"{type(error).__name__}: {line}" if line else type(error).__name__
