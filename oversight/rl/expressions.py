"""Observers, flags and functions written as text, as command lines and `config.json` hold them.

An observer is written as in Python: `EpisodeCoin(p) & ~Region('mymodule:left')`. The text is parsed
and never executed: it may name the observers of `envs.observers`, combine them by `&`, `|` and `~`,
and give them numbers, words, `p` for the oversight probability of the run, and functions as
`'module:function'`. Such a function is imported, so that only one's own modules should be named.
"""

import ast
import inspect
import operator
from collections.abc import Callable, Mapping
from typing import Any

from envs.observers import (
    Adversarial,
    Budget,
    EpisodeCoin,
    GaussianNoise,
    Noisy,
    NoisyFlag,
    Observer,
    Query,
    Region,
    Schedule,
    StepCoin,
    StepDecay,
)
from envs.wrappers.oversight import Flag
from oversight.runs.settings import load_object

OBSERVERS: Mapping[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        Adversarial,
        Budget,
        EpisodeCoin,
        GaussianNoise,
        Noisy,
        Query,
        Region,
        Schedule,
        StepCoin,
        StepDecay,
    )
}
"""The observers that an expression may name."""

_COMBINATIONS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
}


def parse_observer(text: str, probability: float) -> Observer:
    """Return the observer that an expression describes.

    Args:
        text: the expression.
        probability: the value of `p`.

    Raises:
        ValueError: if the text is no such expression, or an observer refuses its arguments.

    >>> parse_observer("EpisodeCoin(p) | Budget(10, every=100)", 0.25).first
    EpisodeCoin(probability=0.25, stream=0)
    """
    return _parse("observer", text, OBSERVERS, {"p": probability}, Observer)  # type: ignore[no-any-return]


def parse_flag(text: str) -> Flag:
    """Return the oversight flag that a word or an expression describes.

    Args:
        text: `hidden`, `visible`, or for instance `NoisyFlag(miss=0.1)`.

    Raises:
        ValueError: if it is none of these.

    >>> parse_flag("NoisyFlag(miss=0.1)")
    NoisyFlag(miss=0.1, false_alarm=0.0, stream=0)
    """
    match text:
        case "hidden" | "visible":
            return text
    return _parse("flag", text, {"NoisyFlag": NoisyFlag}, {}, NoisyFlag)  # type: ignore[no-any-return]


def load_function(name: str) -> Callable[..., Any]:
    """Import a function by `module:function`; modules of the working directory are found.

    Raises:
        ValueError: if the module cannot be imported, or does not have such a function.
    """
    function = load_object(name)
    if not callable(function):
        raise ValueError(f"{name} is not a function: {function!r}")
    return function  # type: ignore[no-any-return]


def _parse(
    what: str,
    text: str,
    classes: Mapping[str, type[Any]],
    numbers: Mapping[str, float],
    kind: type[Any],
) -> Any:  # noqa: ANN401
    """Return the object of a kind that an expression describes."""
    allowed = f"write an expression of {', '.join(classes)}"
    try:
        value = _evaluate(ast.parse(text.strip(), mode="eval").body, classes, numbers)
    except (SyntaxError, RecursionError, MemoryError) as error:
        reason = getattr(error, "msg", None) or "it is too deep"
        raise ValueError(
            f"{what} {text!r} was given, which cannot be read ({reason}): {allowed}"
        ) from None
    except ValueError as error:
        raise ValueError(f"{what} {text!r}: {error}") from error
    if not isinstance(value, kind):
        raise ValueError(f"{what} {text!r} was given: {allowed}")
    return value


def _evaluate(
    node: ast.expr, classes: Mapping[str, type[Any]], numbers: Mapping[str, float]
) -> Any:  # noqa: ANN401
    """Return the value of a part of an expression."""
    match node:
        case ast.UnaryOp(op=ast.Invert(), operand=operand):
            return ~_require_observer(_evaluate(operand, classes, numbers))
        case ast.BinOp(op=ast.BitAnd() | ast.BitOr() as combination, left=left, right=right):
            first, second = (_evaluate(part, classes, numbers) for part in (left, right))
            combine = _COMBINATIONS[type(combination)]
            return combine(_require_observer(first), _require_observer(second))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords) if name in classes:
            values = [_evaluate(each, classes, numbers) for each in args]
            named = {each.arg: _evaluate(each.value, classes, numbers) for each in keywords}
            return _make(classes[name], values, named)
    return _argument(node, [*classes, *numbers], numbers)


def _argument(node: ast.expr, known: list[str], numbers: Mapping[str, float]) -> Any:  # noqa: ANN401
    """Return the value of an argument that is no observer."""
    match node:
        case ast.Constant(value=str(word)):
            return load_function(word) if ":" in word else word
        case ast.Constant(value=bool() | int() | float() | None as constant):
            return constant
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.Name(id=name) if name in numbers:
            return numbers[name]
    raise ValueError(f"{ast.unparse(node)!r} is not understood: use {', '.join(known)}")


def _require_observer(value: object) -> Observer:
    """Return a value that is combined with others, which must be an observer."""
    if not isinstance(value, Observer):
        raise ValueError(
            f"&, | and ~ combine observers, not {value!r}: write EpisodeCoin({value!r})"
        )
    return value


def _make(kind: type[Any], args: list[Any], named: Mapping[str | None, Any]) -> Any:  # noqa: ANN401
    """Return an object of its arguments; an error names those that it takes."""
    takes = f"{kind.__name__} takes ({', '.join(inspect.signature(kind).parameters)})"
    by_name = {name: value for name, value in named.items() if name is not None}
    if len(by_name) < len(named):
        raise ValueError(f"{takes}, each by itself and without **")
    try:
        inspect.signature(kind).bind(*args, **by_name)
    except TypeError as error:
        raise ValueError(f"{takes}: {error}") from None
    return kind(*args, **by_name)
