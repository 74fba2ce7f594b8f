"""Frozen records as JSON, and back: data out, data in, and nothing executed."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from math import isfinite
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from oversight.files import replace_file

C = TypeVar("C")


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write JSON so that a kill leaves the old file or the new one; NaN and infinity are null.

    Raises:
        ValueError: if it cannot be written, as on a full disk; the old file stays as it was.
    """
    text = json.dumps(_strict(data), indent=2, default=str, allow_nan=False) + "\n"
    replace_file(path, text.encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ValueError: if there is no such file, or it holds something else.
    """
    try:
        data = json.loads(path.read_text())
    except OSError as error:
        raise ValueError(
            f"{path} cannot be read ({error.strerror}): is it a run's folder?"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise ValueError(f"{path} holds {type(data).__name__}, not an object")
    return data


def as_read(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `read_json` gives of what `write_json` wrote.

    >>> as_read({"betas": (0.9, float("inf"))})
    {'betas': [0.9, None]}
    """
    read: dict[str, Any] = json.loads(json.dumps(_strict(data), default=str, allow_nan=False))
    return read


def from_json(schema: type[C], data: Mapping[str, Any], source: str) -> C:
    """Return a record from the JSON of one, every value checked against its field's type.

    Args:
        schema: a dataclass, of plain values and other dataclasses.
        data: what `dataclasses.asdict` made of such a record, after JSON.
        source: where it comes from, for the error.

    Raises:
        ValueError: if a value is missing, unknown, of another type, or refused by the record.
    """
    try:
        record: C = _record(schema, data, source)
    except OverflowError as error:
        raise ValueError(f"{source} holds a number out of range: {error}") from error
    return record


def as_markdown(config: Any) -> str:  # noqa: ANN401
    """Return settings as a table, for a page that shows markdown."""
    rows = [f"| {name} | {value} |" for name, value in flat(asdict(config))]
    return "\n".join(["| setting | value |", "| --- | --- |", *rows])


def flat(data: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return the values of nested settings by their dotted names, in order.

    >>> flat({"seed": 0, "ppo": {"gamma": 0.5}})
    [('seed', 0), ('ppo.gamma', 0.5)]
    """
    rows: list[tuple[str, Any]] = []
    for name, value in data.items():
        nested = isinstance(value, dict)
        rows += flat(value, f"{prefix}{name}.") if nested else [(prefix + name, value)]
    return rows


def _strict(data: Any) -> Any:  # noqa: ANN401
    """Replace the numbers that JSON does not know."""
    if isinstance(data, Mapping):
        return {name: _strict(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_strict(value) for value in data]
    return None if isinstance(data, float) and not isfinite(data) else data


def _record(schema: Any, data: Mapping[str, Any], source: str) -> Any:  # noqa: ANN401
    names = {each.name for each in fields(schema)}
    if set(data) != names:
        odd = ", ".join(sorted(set(data) ^ names))
        raise ValueError(f"{source} is not of this version: settings missing or unknown: {odd}")
    hints = get_type_hints(schema)
    return schema(**{name: _value(hints[name], data[name], f"{source}: {name}") for name in names})


def _value(hint: Any, data: Any, where: str) -> Any:  # noqa: ANN401
    """Return JSON data as the type that a field declares."""
    if is_dataclass(hint) and isinstance(data, dict):
        return _record(hint, data, where)
    if get_origin(hint) is tuple and isinstance(data, list):
        return tuple(_value(get_args(hint)[0], item, where) for item in data)
    if get_origin(hint) is UnionType:
        return None if data is None else _value(get_args(hint)[0], data, where)
    if hint is Path and isinstance(data, str):
        return Path(data)
    if hint is float and isinstance(data, int | float) and not isinstance(data, bool):
        return float(data)
    allowed = get_origin(hint) is Literal and data in get_args(hint)
    if allowed or (isinstance(hint, type) and type(data) is hint):
        return data
    raise ValueError(f"{where} is {data!r}, which is not of type {hint}")
