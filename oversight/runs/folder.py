"""One run's folder: its settings, its summary, and where everything lies in it.

Frozen records as JSON, and back: data out, data in, and nothing executed.

Files written whole: whoever reads one sees the old content or the new, never a part.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints


def replace_file(path: Path, content: bytes) -> None:
    """Write a file whole, also where a kill comes between, or another process writes it too.

    Raises:
        ValueError: if it cannot be written, as on a full disk; the old file stays as it was.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        try:
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ValueError(
            f"{path} cannot be written ({error.strerror}): make room, or choose another folder"
        ) from error


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


_PACKAGES = ("torch", "stable_baselines3", "gymnasium", "numpy")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The files of a run, by name."""

    path: Path

    @property
    def config(self) -> Path:
        """The settings, as JSON."""
        return self.path / "config.json"

    @property
    def summary(self) -> Path:
        """The results, as JSON."""
        return self.path / "summary.json"

    @property
    def model(self) -> Path:
        """The policy at the end of training, in SB3's format."""
        return self.path / "model.zip"

    def model_of(self, rule: str) -> Path:
        """The policy whose weights a rule of selection chose; that of `last` is `model`."""
        return self.model if rule == "last" else self.path / f"model-{rule}.zip"

    @property
    def module_map(self) -> Path:
        """A picture of what each module does."""
        return self.path / "modules.png"

    @property
    def checkpoint(self) -> Path:
        """The state from which training goes on."""
        return self.path / "checkpoint.pt"


def create(path: Path) -> RunFolder:
    """Make a new run's folder.

    Raises:
        ValueError: if it holds a run already, or cannot be written.
    """
    folder = RunFolder(path)
    if folder.config.exists():
        raise ValueError(
            f"{path} holds a run already: add --resume to go on with it, or name another --run-dir"
        )
    require_writable(path)
    return folder


def require_writable(path: Path, flag: str = "--run-dir") -> None:
    """Make a folder, and see that files can be made in it; `flag` is what names it.

    Raises:
        ValueError: if not.
    """
    probe = path / f".probe-{os.getpid()}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"the folder {path} cannot be written ({error.strerror}): name another {flag}"
        ) from error


def next_free(base: Path) -> Path:
    """Return the path itself, or the first of `base-2`, `base-3`, ... that does not exist."""
    path, number = base, 1
    while path.exists():
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    return path


def write_config(folder: RunFolder, config: Any) -> None:  # noqa: ANN401
    """Write the settings of a run, with the commit and the versions that it ran on."""
    where = {"commit": commit(), "versions": {name: version(name) for name in _PACKAGES}}
    write_json(folder.config, {**asdict(config), **where})


def read_config(folder: RunFolder, schema: type[C]) -> C:
    """Read settings back; data only, checked against the schema.

    Raises:
        ValueError: if a setting is missing, unknown, or of another type.
    """
    data = read_json(folder.config)
    for name in ("commit", "versions"):
        data.pop(name, None)
    return from_json(schema, data, str(folder.config))


def refuse_changes(
    stored: Mapping[str, Any],
    given: Mapping[str, Any],
    may_change: Container[str],
    prefix: str = "",
) -> None:
    """Raise a ValueError for a setting that would make a resumed run another one.

    Args:
        stored: the settings of the run, nested ones as dictionaries.
        given: those to go on with.
        may_change: names of settings that do not make it another run.
        prefix: what stands before the names, for the error.
    """
    for name, old in stored.items():
        new = given[name]
        if isinstance(old, dict):
            refuse_changes(old, new, may_change, f"{prefix}{name}.")
        elif old != new and name not in may_change:
            raise ValueError(
                f"the run has {prefix}{name} {old!r}, {new!r} was given: leave the flag out to go "
                "on, or start a new run without --resume"
            )


def interpreter() -> str:
    """Return how a shell in this folder calls the Python that runs, for commands to paste."""
    running = Path(sys.executable)
    found = shutil.which("python")
    if found is not None and Path(found) == running:
        return "python"
    inside = running.is_relative_to(Path.cwd())
    return shlex.quote(str(running.relative_to(Path.cwd()) if inside else running))


def commit() -> str | None:
    """Return the commit of the source tree, marked `-dirty` if it was changed, or None."""
    command = [
        "git",
        "-C",
        str(Path(__file__).parent),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=40",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
