"""The files of a study's results, and their rows: one for each run and rule of selection."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROWS, ABOUT, SETTINGS, CURVES = "results.csv", "study.json", "settings.json", "curves.csv"
"""The files of an export, which a study's folder may be too; the second makes it one."""
MODULES, KNOWN = "modules", "known"
"""Folders: of an export's module maps, and of the export that a study's folder took over."""

METRICS = (
    *("true_return", "true_return_observed", "true_return_unobserved", "paper_return"),
    *("diamond_rate", "ghost_rate", "timeout_rate", "flag_flip_gap"),
)
COLUMNS = (
    *("run", "study", "method", "variation", "oversight_probability", "seed", "rule", "step"),
    *METRICS,
    *("observed_episodes", "env_steps", "wall_seconds", "commit"),
)

_WORDS = ("run", "study", "method", "variation", "rule", "commit")
_WHOLE = ("seed", "step", "observed_episodes", "env_steps")


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as comma-separated lines below a header; what is None is an empty cell."""
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of such a file, every cell as text.

    Raises:
        ValueError: if it cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read ({type(error).__name__})") from error


def typed(cells: Mapping[str, str], source: object) -> dict[str, Any]:
    """Return a row from its cells as text, as it was before it was written.

    Raises:
        ValueError: if a cell is missing or damaged; `source` is named.
    """
    try:
        return {name: _typed(name, cells[name]) for name in COLUMNS}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{source}: the row of {cells.get('run')} is damaged: {error}") from error


def _typed(name: str, cell: str) -> str | int | float | None:
    if not cell:
        return None
    if name in _WORDS:
        return cell
    return int(cell) if name in _WHOLE else float(cell)
