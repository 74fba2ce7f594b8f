"""One run's folder: its settings, its summary, and where everything lies in it."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from oversight.record import from_json, read_json, write_json

C = TypeVar("C")

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
