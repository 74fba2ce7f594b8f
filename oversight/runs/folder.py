"""Run folders: files replaced as a whole, settings as JSON and back, and where everything lies.

Reading a folder executes nothing: settings are data, checked against the types of a dataclass.
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

C = TypeVar("C")

FORMAT = 2
"""Number of the layout of run folders, which every `config.json` has."""
_FIRST = "0.1.0 (commit c75a333)"  # the version of the layout that had no number

_PACKAGES = ("torch", "stable_baselines3", "gymnasium", "numpy")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The paths of a run's files."""

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
        """The policy that a selection rule chose, in SB3's format; for `last` this is `model`."""
        return self.model if rule == "last" else self.path / f"model-{rule}.zip"

    @property
    def module_map(self) -> Path:
        """A picture of the policy of each module."""
        return self.path / "modules.png"

    @property
    def checkpoint(self) -> Path:
        """The state from which an interrupted run resumes."""
        return self.path / "checkpoint.pt"


def create(path: Path) -> RunFolder:
    """Make the folder of a new run.

    Raises:
        ValueError: if the folder holds a run, or cannot be written.
    """
    folder = RunFolder(path)
    require_new(folder)
    require_writable(path)
    return folder


def require_new(folder: RunFolder) -> None:
    """Raise a ValueError if a folder holds a run."""
    if folder.config.exists():
        raise ValueError(
            f"{folder.path} already holds a run: add --resume to resume it, or name another "
            "--run-dir"
        )


def require_file_place(path: Path | None, flag: str) -> None:
    """Check that a file can be written to a path, if one is given; an old file may be there.

    Args:
        path: the file.
        flag: the flag that names the file, for the error.

    Raises:
        ValueError: if the path is a folder, or its parent is none or cannot be written.
    """
    if path is None:
        return
    reason = ""
    if not path.parent.is_dir():
        reason = f"{path.parent} is not a folder"
    elif path.is_dir():
        reason = "it is a folder"
    elif not os.access(path.parent, os.W_OK):
        reason = f"{path.parent} is not writable"
    if reason:
        raise ValueError(f"{flag} {path} cannot be written: {reason}; name another file")


def require_writable(path: Path, flag: str = "--run-dir") -> None:
    """Make a folder, and check that files can be made in it.

    Args:
        path: the folder.
        flag: the flag that names the folder, for the error.

    Raises:
        ValueError: if the folder cannot be written.
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
    """Write the settings of a run, the format, and the commit and versions of packages."""
    versions = {name: version(name) for name in _PACKAGES}
    about = {"format": FORMAT, "commit": commit(), "versions": versions}
    write_json(folder.config, {**asdict(config), **about})


LATER = {"later": True}
"""Metadata of a setting that runs of earlier versions lack: they were run with its default."""


def read_config(folder: RunFolder, schema: type[C]) -> C:
    """Return the settings of a run, checked against a dataclass.

    Raises:
        ValueError: if the run has another format, or a setting is missing, unknown, or of another
            type.
    """
    data = read_json(folder.config)
    if "format" not in data and "versions" in data:
        raise ValueError(
            f"{folder.path} is a run of version {_FIRST}, which this version cannot read: use that "
            "version"
        )
    if data.get("format", FORMAT) != FORMAT:
        raise ValueError(
            f"{folder.path} is a run of format {data['format']!r}, but this version reads format "
            f"{FORMAT}: use the version that wrote the run"
        )
    for name in ("format", "commit", "versions"):
        data.pop(name, None)
    return from_json(schema, data, str(folder.config))


def refuse_changes(
    stored: Mapping[str, Any], given: Mapping[str, Any], may_change: Container[str]
) -> None:
    """Raise a ValueError if a setting that a resumed run must keep would change.

    Args:
        stored: the settings of the run by their dotted names.
        given: the settings to resume it with.
        may_change: last parts of the names of settings that may change.
    """
    for name, old in stored.items():
        if old != given[name] and name.rpartition(".")[2] not in may_change:
            raise ValueError(
                f"the run has {name} {old!r}, {given[name]!r} was given: leave the flag out to "
                "resume, or start a new run without --resume"
            )


def interpreter() -> str:
    """Return the running Python as a shell in this folder calls it, for commands to paste."""
    running = Path(sys.executable)
    found = shutil.which("python")
    if found is not None and Path(found) == running:
        return "python"
    inside = running.is_relative_to(Path.cwd())
    return shlex.quote(str(running.relative_to(Path.cwd()) if inside else running))


def commit() -> str | None:
    """Return the commit of the source tree, marked `-dirty` if it has changes; None if unknown."""
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


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file as a whole: readers see the old content or the new one, also after a kill.

    Raises:
        ValueError: if the file cannot be written, as on a full disk; the old file stays unchanged.
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


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Replace a file by JSON, in which NaN and infinity are null.

    Raises:
        ValueError: if the file cannot be written, as on a full disk; the old file stays unchanged.
    """
    text = json.dumps(_strict(data), indent=2, default=str, allow_nan=False) + "\n"
    replace_file(path, text.encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ValueError: if there is no such file, or it holds no JSON object.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))  # editors may add the mark
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
    """Return data as `read_json` returns it after `write_json`.

    >>> as_read({"betas": (0.9, float("inf"))})
    {'betas': [0.9, None]}
    """
    read: dict[str, Any] = json.loads(json.dumps(_strict(data), default=str, allow_nan=False))
    return read


def from_json(schema: type[C], data: Mapping[str, Any], source: str) -> C:
    """Return a dataclass from its JSON, with every value checked against the type of its field.

    Args:
        schema: a dataclass of plain values and other dataclasses.
        data: the result of `dataclasses.asdict`, after JSON.
        source: origin of the data, which errors name.

    Raises:
        ValueError: if a value is missing, unknown, of another type, or refused by the dataclass.
    """
    try:
        record: C = _record(schema, data, source)
    except OverflowError as error:
        raise ValueError(f"{source} holds a number out of range: {error}") from error
    return record


def as_markdown(config: Any) -> str:  # noqa: ANN401
    """Return settings as a table in markdown."""
    rows = [f"| {name} | {value} |" for name, value in flat(asdict(config))]
    return "\n".join(["| setting | value |", "| --- | --- |", *rows])


def flat(data: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return the values of nested settings with their dotted names, in order.

    >>> flat({"seed": 0, "ppo": {"gamma": 0.5}})
    [('seed', 0), ('ppo.gamma', 0.5)]
    """
    rows: list[tuple[str, Any]] = []
    for name, value in data.items():
        nested = isinstance(value, dict)
        rows += flat(value, f"{prefix}{name}.") if nested else [(prefix + name, value)]
    return rows


def _strict(data: Any) -> Any:  # noqa: ANN401
    """Replace the numbers that JSON does not have."""
    if isinstance(data, Mapping):
        return {name: _strict(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_strict(value) for value in data]
    return None if isinstance(data, float) and not isfinite(data) else data


def _record(schema: Any, data: Mapping[str, Any], source: str) -> Any:  # noqa: ANN401
    names = {each.name for each in fields(schema)}
    later = {
        each.name: each.default
        for each in fields(schema)
        if each.metadata.get("later") and each.name not in data
    }
    if {*data, *later} != names:
        odd = ", ".join(sorted({*data, *later} ^ names))
        raise ValueError(f"{source} is not of this version: settings missing or unknown: {odd}")
    hints = get_type_hints(schema)
    values = {name: _value(hints[name], data[name], f"{source}: {name}") for name in data}
    try:
        return schema(**values, **later)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def _value(hint: Any, data: Any, where: str) -> Any:  # noqa: ANN401
    """Return JSON data as the type of a field."""
    if is_dataclass(hint) and isinstance(data, dict):
        return _record(hint, data, where)
    origin = get_origin(hint)
    if (origin is tuple and isinstance(data, list)) or (
        origin is Mapping and isinstance(data, dict)
    ):
        return _items(get_args(hint), data, where)
    if get_origin(hint) is UnionType:
        return None if data is None else _value(get_args(hint)[0], data, where)
    if hint is Path and isinstance(data, str):
        return Path(data)
    if hint is float and isinstance(data, int | float) and not isinstance(data, bool):
        return float(data)
    allowed = get_origin(hint) is Literal and data in get_args(hint)
    if allowed or (isinstance(hint, type) and type(data) is hint):
        return data
    options = get_args(hint) if get_origin(hint) is Literal else ()
    wanted = f"one of {', '.join(map(str, options))}" if options else _name(hint)
    raise ValueError(f"{where} is {data!r}, which is not {wanted}")


def _name(hint: Any) -> str:  # noqa: ANN401
    """Return a type as JSON calls it, as far as JSON has it."""
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a string"}
    names[Path] = "a string that names a path"
    return names.get(hint, "an object" if is_dataclass(hint) else f"of type {hint}")


def _items(hints: tuple[Any, ...], data: Any, where: str) -> Any:  # noqa: ANN401
    """Return a JSON list as a tuple, or an object as a mapping from text."""
    if isinstance(data, dict):
        return {name: _value(hints[1], item, where) for name, item in data.items()}
    return tuple(_value(hints[0], item, where) for item in data)
