"""Learning curves of many runs in one small table: a line for each run, a column for each step."""

import csv
from collections.abc import Mapping
from io import StringIO
from math import isfinite

import numpy as np

from oversight.reporting.curves import Points


def as_csv(curves: Mapping[str, Points]) -> str:
    """Return curves as comma-separated lines, in the shortest text of their single precision.

    >>> print(as_csv({"a": {10: 0.5}, "b": {10: float(np.float32(0.1)), 30: 1.0}}), end="")
    run,10,30
    a,0.5,
    b,0.1,1.0
    """
    steps = sorted(set().union(*curves.values()))
    text = StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["run", *steps])
    for run, points in curves.items():
        table.writerow([run, *(_text(points[step]) if step in points else "" for step in steps)])
    return text.getvalue()


def from_csv(text: str) -> dict[str, Points]:
    """Return the curves of such lines, to the bit.

    Raises:
        ValueError: if they are something else; the line is named.
    """
    heads, *lines = list(csv.reader(StringIO(text))) or [[]]
    if heads[:1] != ["run"]:
        raise ValueError("its first line does not begin with run")
    curves: dict[str, Points] = {}
    for number, (run, *cells) in enumerate(filter(None, lines), start=2):
        if len(cells) != len(heads) - 1:
            raise ValueError(f"line {number} ({run}) has not as many cells as the first")
        pairs = zip(heads[1:], cells, strict=True)
        curves[run] = {int(step): float(np.float32(cell)) for step, cell in pairs if cell}
    return curves


def _text(value: float) -> str:
    return str(np.float32(value)) if isfinite(value) else ""
