"""Curves as JSON, and back; a value that is not finite is null there, and NaN when read."""

from collections.abc import Mapping
from math import isfinite, nan
from typing import Any

from lm.attack.relearning import Curve


def to_json(curve: Curve) -> dict[str, Any]:
    """Return a curve as plain data.

    >>> to_json(Curve("same", 0.002, 16, (0, 1), {"forget_loss": (3.0, nan)}))["values"]
    {'forget_loss': [3.0, None]}
    """
    values = {
        name: [value if isfinite(value) else None for value in read]
        for name, read in curve.values.items()
    }
    return curve._asdict() | {"steps": list(curve.steps), "values": values}


def from_json(data: Mapping[str, Any]) -> Curve:
    """Return the curve that `to_json` made data of."""
    values = {
        name: tuple(nan if value is None else float(value) for value in read)
        for name, read in data["values"].items()
    }
    return Curve(**{**data, "steps": tuple(data["steps"]), "values": values})
