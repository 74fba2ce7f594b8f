"""What a function can reach: a walk that finds an environment in which it could read a reward."""

import functools
import types
from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium as gym
from gymnasium.vector import VectorEnv

DEPTH = 5  # from a function to an object in a container of an attribute of what it is bound to


def held_environment(function: object) -> object | None:
    """Return an environment that a function can reach, or None.

    Looked through are closures, defaults, global names, `functools.partial`, what a method is bound
    to, the attributes of objects, and containers, to a depth of `DEPTH`. A function that means to
    hide an environment can: this finds the one that got in by mistake.
    """
    seen: set[int] = set()
    level: list[object] = [function]
    for _ in range(DEPTH):
        fresh = [each for each in level if id(each) not in seen]
        seen.update(id(each) for each in fresh)
        for each in fresh:
            if _is_environment(each):
                return each
        level = [part for each in fresh for part in _reached(each)]
    return None


def _is_environment(value: object) -> bool:
    if isinstance(value, type):
        return False
    # SB3's vector environments by name, so that they need no import
    names = {parent.__name__ for parent in type(value).__mro__}
    return isinstance(value, gym.Env | VectorEnv) or "VecEnv" in names


def _reached(value: object) -> Iterator[object]:
    """Yield what is one step away."""
    if isinstance(value, types.FunctionType):
        yield from _of_function(value)
    elif isinstance(value, types.MethodType):
        yield from (value.__self__, value.__func__)
    elif isinstance(value, functools.partial):
        yield from (value.func, *value.args, *value.keywords.values())
    elif isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        yield from value
    elif not isinstance(value, type | types.ModuleType):
        yield from _of_object(value)


def _of_function(function: types.FunctionType) -> Iterator[object]:
    yield from (_content(cell) for cell in function.__closure__ or ())
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    yield from vars(function).values()
    for name in _global_names(function.__code__):
        yield function.__globals__.get(name)


def _global_names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):  # a function inside
            yield from _global_names(constant)


def _of_object(value: Any) -> Iterator[object]:  # noqa: ANN401 (of any class)
    yield getattr(value, "__self__", None)  # of a builtin method
    yield from getattr(value, "__dict__", {}).values()
    for parent in type(value).__mro__:
        for name in getattr(parent, "__slots__", ()):
            yield getattr(value, name, None)
    call = getattr(type(value), "__call__", None)  # noqa: B004 (the method itself is walked)
    if isinstance(call, types.FunctionType):
        yield call


def _content(cell: Any) -> object:  # noqa: ANN401 (a closure's cell)
    try:
        return cell.cell_contents
    except ValueError:  # the variable was never assigned
        return None
