"""What the settings of commands and of agents share: checks, and objects that are named by text."""

import pkgutil
from collections.abc import Callable, Mapping
from math import inf
from numbers import Integral, Real
from typing import Any, NamedTuple

ADDED_LATER: Mapping[str, bool] = {"added_later": True}
"""Metadata of a setting without which earlier versions wrote runs, and whose default does as they
did: where the stored settings of a run lack it, it has its default."""


class Numbers(NamedTuple):
    """The numbers that a setting may be.

    Attributes:
        words: what they are, as the object of "give".
        within: whether a number is one of them.
        kind: `Integral` where a whole number is meant.

    >>> UNIT.allow(0.5), UNIT.allow(float("nan")), UNIT.allow("0.5"), COUNT.allow(16.0)
    (True, False, False, False)
    """

    words: str
    within: Callable[[Any], bool]
    kind: type = Real

    def allow(self, value: object) -> bool:
        """Return whether a setting may have a value; True and False are no numbers."""
        number = isinstance(value, self.kind) and not isinstance(value, bool)
        return number and bool(self.within(value))


ABOVE_0 = Numbers("a number above 0", lambda value: value > 0)
POSITIVE = Numbers("a positive, finite number", lambda value: 0 < value < inf)
NOT_NEGATIVE = Numbers("a finite number, 0 or more", lambda value: 0 <= value < inf)
UNIT = Numbers("a number in [0, 1]", lambda value: 0 <= value <= 1)
PROBABILITY_ABOVE_0 = Numbers("a number above 0, at most 1", lambda value: 0 < value <= 1)
COUNT = Numbers("a whole number, 1 or more", lambda value: value >= 1, Integral)
INDEX = Numbers("a whole number, 0 or more", lambda value: value >= 0, Integral)
SEED = Numbers("a whole number from 0 to 2**32 - 1", lambda value: 0 <= value < 2**32, Integral)
# more threads than this end the process, as the system does not start them
THREADS = Numbers("a whole number from 1 to 1024", lambda value: 1 <= value <= 1024, Integral)


def require_number(name: str, value: object, allowed: Numbers) -> None:
    """Raise a ValueError if a setting is none of the numbers that it may be.

    >>> require_number("gamma", 2, UNIT)
    Traceback (most recent call last):
    ValueError: gamma 2 was given: give a number in [0, 1]
    """
    if not allowed.allow(value):
        raise ValueError(f"{name} {value!r} was given: give {allowed.words}")


def require_numbers(settings: Any, *names: str, least: float | None = None) -> None:  # noqa: ANN401
    """Raise a ValueError if a setting is below `least`, or not above 0 where that is None.

    A setting may be a number, a tuple of numbers, or None, which is allowed. NaN and infinity are
    refused.

    >>> from types import SimpleNamespace
    >>> require_numbers(SimpleNamespace(steps=0), "steps", least=0)
    """
    allowed = Numbers(ABOVE_0.words, POSITIVE.within)
    if least is not None:
        allowed = Numbers(f"{least} or more", lambda value: least <= value < inf)
    for name in names:
        value = getattr(settings, name)
        numbers = value if isinstance(value, tuple) else [value] * (value is not None)
        if not all(map(allowed.allow, numbers)):
            raise ValueError(f"{name} {value!r} was given: give {allowed.words}")


def require_distinct(settings: Any, *names: str) -> None:  # noqa: ANN401
    """Raise a ValueError if a list of values is empty or has one of them twice."""
    for name in names:
        values = getattr(settings, name)
        if not values or len(set(values)) < len(values):
            raise ValueError(f"{name} {values} were given: give one or more, each once")


def load_object(name: str) -> Any:  # noqa: ANN401 (whatever the module holds)
    """Import an object by `module:name`.

    Raises:
        ValueError: if the module cannot be imported, or does not have such an object.
    """
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise ValueError(f"{name!r} was given: write module:name, as in my_module:my_function")
    try:
        return pkgutil.resolve_name(name)
    except Exception as error:  # a module may raise anything while it is imported
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{name!r} cannot be imported ({reason})") from error
