"""Planted: a fault with a name, the healthy setup that it is planted in, and where it shows."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from oversight.certificate.leaks.starts import grid
from oversight.certificate.setup import Setup

Part = Literal[
    "wrapper", "autoreset", "info", "normalizer", "buffer", "learner", "callback", "checkpoint"
]


@dataclass(frozen=True, kw_only=True)
class Planted:
    """One part of a training run that was written another way.

    Attributes:
        name: the word for it.
        part: where it is planted.
        says: one sentence: what is wrong, and how the truth gets out.
        plant: from the healthy setup to the one with this part in it.
        start: returns the healthy setup, which certifies.
        shows: the channel that differs first in time; None for an innocent part, for which none
            does.
    """

    name: str
    part: Part
    says: str
    plant: Callable[[Setup], Setup]
    start: Callable[[], Setup] = grid
    shows: str | None = None


def swap(**parts: Any) -> Callable[[Setup], Setup]:  # noqa: ANN401
    """Return a function that replaces these parts of a setup, and leaves the others."""
    return lambda setup: replace(setup, **parts)


def tell_oversight(**arguments: Any) -> Callable[[Setup], Setup]:  # noqa: ANN401
    """Return a function that gives the oversight of a setup further arguments."""

    def plant(setup: Setup) -> Setup:
        hide: Any = setup.hide
        return replace(setup, hide=partial(hide, **arguments))

    return plant
