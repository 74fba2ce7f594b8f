"""A table and its forms: CSV with every digit, markdown to paste, and cells for the page."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from math import isnan
from pathlib import Path

from oversight.reporting.statistics import Estimate

Value = str | int | float | Estimate


@dataclass(frozen=True, slots=True)
class Cell:
    """A value and whether it stands out.

    Attributes:
        value: what it is.
        mark: `best` for a clear winner, `level` for one of a draw, or empty.
    """

    value: Value
    mark: str = ""

    @property
    def main(self) -> str:
        """What is read first."""
        value = self.value.value if isinstance(self.value, Estimate) else self.value
        if isinstance(value, float):
            return "-" if isnan(value) else f"{value:z.2f}"
        return f"{value:,}" if isinstance(value, int) else value

    @property
    def ends(self) -> str:
        """The interval, or why there is none; empty for what is no estimate."""
        if not isinstance(self.value, Estimate) or not self.value.seeds:
            return ""
        if not self.value.known:
            return "one seed"
        return f"{self.value.low:z.2f} to {self.value.high:z.2f}"

    def __str__(self) -> str:
        """Return it as text, an estimate with its interval in parentheses."""
        return f"{self.main} ({self.ends})" if self.ends else self.main


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table and what is said about it.

    Attributes:
        name: of its files.
        title: what it holds.
        caption: how to read it.
        columns: the headings.
        rows: cells, as many as there are columns; the first is the row's name.
    """

    name: str
    title: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    def save(self, folder: Path) -> None:
        """Write it as CSV and markdown."""
        (folder / f"{self.name}.csv").write_text(self.as_csv(), encoding="utf-8")
        (folder / f"{self.name}.md").write_text(self.as_markdown(), encoding="utf-8")

    def as_csv(self) -> str:
        """Return CSV; an estimate takes four columns: itself, low, high and seeds."""
        split = [
            any(isinstance(row[column].value, Estimate) for row in self.rows)
            for column in range(len(self.columns))
        ]
        text = StringIO()
        writer = csv.writer(text, lineterminator="\n")
        heads = zip(self.columns, split, strict=True)
        parts = ("", " low", " high", " seeds")
        writer.writerow(
            [f"{name}{part}" for name, each in heads for part in (parts if each else ("",))]
        )
        for row in self.rows:
            cells = zip(row, split, strict=True)
            writer.writerow([each for cell, wide in cells for each in _spread(cell.value, wide)])
        return text.getvalue()

    def as_markdown(self) -> str:
        """Return a markdown table under its title; what stands out is bold."""
        lines = [f"**{self.title}.** {self.caption}", "", _line(self.columns)]
        lines.append(_line(["---"] + ["---:"] * (len(self.columns) - 1)))
        for row in self.rows:
            lines.append(_line([f"**{cell}**" if cell.mark else str(cell) for cell in row]))
        return "\n".join(lines) + "\n"


def _spread(value: Value, wide: bool) -> list[str]:
    """Return the CSV cells of a value; an unknown number is empty."""
    if not wide:
        return [_exact(value if not isinstance(value, Estimate) else value.value)]
    if isinstance(value, Estimate):
        return [_exact(each) for each in value]
    return [_exact(value), "", "", ""]


def _exact(value: str | int | float) -> str:
    return "" if isinstance(value, float) and isnan(value) else str(value)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
