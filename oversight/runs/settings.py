"""Checks that the settings of commands share, with errors that name the setting."""

from math import inf
from typing import Any


def require_numbers(settings: Any, *names: str, least: float | None = None) -> None:  # noqa: ANN401
    """Raise a ValueError if a setting is below `least`, or not above 0 where that is None.

    A setting may be a number, a tuple of numbers, or None, which is allowed. NaN and infinity are
    refused.

    >>> from types import SimpleNamespace
    >>> require_numbers(SimpleNamespace(steps=0), "steps", least=0)
    """
    for name in names:
        value = getattr(settings, name)
        numbers = value if isinstance(value, tuple) else [value] * (value is not None)
        if not all(
            number < inf and (number > 0 if least is None else number >= least)
            for number in numbers
        ):
            allowed = "a number above 0" if least is None else f"{least} or more"
            raise ValueError(f"{name} {value} was given: give {allowed}")


def require_distinct(settings: Any, *names: str) -> None:  # noqa: ANN401
    """Raise a ValueError if a list of values is empty or has one of them twice."""
    for name in names:
        values = getattr(settings, name)
        if not values or len(set(values)) < len(values):
            raise ValueError(f"{name} {values} were given: give one or more, each once")
