"""Checks of what a user hands to an observer or wrapper: numbers, functions and their answers."""

import inspect
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs.observers.held import held_environment


def check_probability(value: float, name: str) -> None:
    """Refuse what is not a probability.

    Raises:
        ValueError: If it is not a number from 0 to 1.
    """
    number = isinstance(value, int | float | np.integer | np.floating)
    if not number or not 0 <= value <= 1:  # false for NaN as well
        raise ValueError(f"{name} must be a number from 0 to 1, got {value!r}")


def check_count(value: int, name: str, least: int) -> None:
    """Refuse what does not count.

    Raises:
        ValueError: If it is not an integer of at least `least`.
    """
    integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not integer or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")


def check_function(function: object, name: str, arguments: Sequence[str]) -> None:
    """Refuse a function that cannot be called as promised, or that holds an environment.

    Raises:
        ValueError: If it takes other arguments, or an environment can be reached from it, in which
            it could read the true reward.
    """
    said = f"{name} must be a function of ({', '.join(arguments)})"
    if not callable(function):
        raise ValueError(f"{said}, got {function!r}")
    held = held_environment(function)
    if held is not None:
        raise ValueError(
            f"{said}; {function!r} holds the environment {type(held).__name__}, in which it could "
            f"read the true reward: write it as a function of its arguments alone"
        )
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        raise ValueError(f"{said} and is given nothing else, no reward either: {error}") from None
    except ValueError:  # a builtin without a signature is tried when it is called
        return


def check_mask(answer: ArrayLike, shape: tuple[int, ...], name: str) -> NDArray[np.bool_]:
    """Return a predicate's answer as an array.

    Raises:
        ValueError: If it is not one boolean a lane.
    """
    mask = np.asarray(answer)
    if mask.shape != shape or mask.dtype != np.bool_:
        raise ValueError(
            f"{name} must return {shape} booleans, one for each "
            f"observation, got {mask.dtype} of shape {mask.shape}"
        )
    return mask
