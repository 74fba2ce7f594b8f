"""Checks of what a user hands to an observer or wrapper: probabilities and functions."""

import inspect
from collections.abc import Sequence

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv


def check_probability(value: float, name: str) -> None:
    """Refuse what is not a probability.

    Raises:
        ValueError: If it is not a number from 0 to 1.
    """
    number = isinstance(value, int | float | np.integer | np.floating)
    if not number or not 0 <= value <= 1:  # false for NaN as well
        raise ValueError(f"{name} must be a number from 0 to 1, got {value!r}")


def check_function(function: object, name: str, arguments: Sequence[str]) -> None:
    """Refuse a function that cannot be called as promised, or that holds an environment.

    Raises:
        ValueError: If it takes other arguments, or is bound to or closes over an environment, in
            which it could read the true reward.
    """
    said = f"{name} must be a function of ({', '.join(arguments)})"
    if not callable(function):
        raise ValueError(f"{said}, got {function!r}")
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        raise ValueError(f"{said} and is given nothing else, no reward either: {error}") from None
    except ValueError:  # a builtin without a signature is tried when it is called
        return
    cells = getattr(function, "__closure__", None) or ()
    held = [getattr(function, "__self__", None), *(_content(cell) for cell in cells)]
    if any(isinstance(each, gym.Env | VectorEnv) for each in held):
        raise ValueError(
            f"{said}; {function!r} holds an environment, in which it could read the true reward: "
            f"write it as a function of its arguments alone"
        )


def _content(cell: object) -> object:
    try:
        return cell.cell_contents  # type: ignore[attr-defined]
    except ValueError:  # the variable was never assigned
        return None
