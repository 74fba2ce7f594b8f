"""Command lines: presets, flags read by tyro, resumed runs, and user errors in one line.

A command has a frozen dataclass of settings, possibly nested. A preset is data: a sentence for the
help page, and values by their dotted names, which are the names of the flags. `override` applies
such values to a dataclass; studies and sweeps use it as well.
"""

import contextlib
import io
import os
import re
import select
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from difflib import get_close_matches
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import tyro

from oversight.runs.folder import RunFolder, read_config, refuse_changes

C = TypeVar("C")
T = TypeVar("T")

Values = Mapping[str, Any]
"""Settings by the names of their flags with underscores, such as `ppo.learning_rate`."""

INTERRUPTED = 130
"""Exit code of a command that an interrupt ended, by the convention of shells."""
STDOUT = 1
"""File descriptor of the standard output."""
BROKEN_PIPE = 141
"""Exit code of a command whose output nobody reads any more, by the same convention."""

Preset = tuple[str, Values]
"""A sentence for the help page, and the settings that differ from the default."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """Where the settings come from."""

    config: str | None = None
    """Preset to start from; flags override single values of it."""
    resume: tuple[Path, ...] | None = None
    """Resume the run in this folder, or in --run-dir, with its settings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _RunDir:
    """The flag that names the folder of a run."""

    run_dir: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Command(Generic[C]):
    """The launch and the settings of a command, together on one help page."""

    launch: Annotated[Launch, tyro.conf.arg(name="")]
    settings: Annotated[C, tyro.conf.arg(name="")]


def run(main: Callable[[Sequence[str]], int | None], args: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code, 0 if it returns none.

    A `ValueError`, `OSError` or `MemoryError` becomes one line on stderr and exit code 2, an
    interrupt exit code 130, and a reader that stops reading, such as `| head`, exit code 141.
    """
    args = sys.argv[1:] if args is None else args
    try:
        _refuse_empty_paths(args)
        code = main(args)
        sys.stdout.flush()
    except (ValueError, OSError) as error:  # an OSError, for example, of a full disk
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return BROKEN_PIPE
        message = " ".join(str(error).split())
        print(f"error: {message}", file=sys.stderr)  # noqa: T201
        return 2
    except MemoryError as error:
        what = " ".join(str(error).split()) or "an allocation failed"
        print(f"error: not enough memory: {what}; choose smaller sizes", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
    return code or 0


def _nobody_reads() -> bool:
    """Return whether the output is a pipe whose reader has ended, and give up its output if so.

    A pipe to another process, such as that of an environment, may have broken instead.
    """
    poll = select.poll()
    poll.register(STDOUT, 0)
    if not any(event & select.POLLERR for _, event in poll.poll(0)):
        return False
    # or Python would complain when it flushes what is left at its end
    os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
    return True


PATHS = (
    "--run-dir",
    "--resume",
    "--data",
    "--data-dir",
    "--out",
    "--labels",
    "--forget",
    "--retain",
    "--export",
)
"""Flags whose values are paths, of which an empty one would be the current folder."""


def _refuse_empty_paths(args: Sequence[str]) -> None:
    for flag, value in pairwise([*args, "none"]):
        if (flag in PATHS and value == "") or (flag.endswith("=") and flag[:-1] in PATHS):
            raise ValueError(f"{flag.rstrip('=')} is empty: give a path")


def parse(schema: type[C], args: Sequence[str], program: str) -> C:
    """Return the settings of a command without presets.

    Args:
        schema: dataclass of the settings.
        args: the command line.
        program: name of the command on the help page.

    Raises:
        ValueError: if a flag or a value is unknown.
    """
    with _one_line_errors(schema):
        settings, unknown = tyro.cli(schema, prog=program, args=args, return_unknown_args=True)
    _refuse_unknown(unknown, flags(schema))
    return settings


def parse_part(schema: type[C], args: Sequence[str]) -> C:
    """Return the settings of one dataclass, such as `Launch`, and ignore all other flags."""
    with _one_line_errors(schema):
        part, _ = tyro.cli(schema, args=args, return_unknown_args=True, add_help=False)
    return part


def parse_with_presets(
    schema: type[C], default: C, args: Sequence[str], presets: Mapping[str, Preset], program: str
) -> C:
    """Return the default settings, changed by flags.

    Args:
        schema: dataclass of the settings.
        default: values of the settings that no flag changes.
        args: the command line.
        presets: presets by name, which the help page lists.
        program: name of the command on the help page.

    Raises:
        ValueError: if a flag or a value is unknown.
    """
    listed = "\n".join(f"- {name}: {sentence}" for name, (sentence, _) in presets.items())
    summary = (schema.__doc__ or "").strip().split("\n")[0]
    command: Any = _Command[schema]  # type: ignore[valid-type]
    with _one_line_errors(schema):
        parsed, unknown = tyro.cli(
            command,
            prog=program,
            args=args,
            default=_Command(launch=Launch(), settings=default),
            description=f"{summary}\n\nPresets:\n{listed}",
            return_unknown_args=True,
        )
    _refuse_unknown(unknown, [*flags(Launch), *flags(schema)])
    settings: C = parsed.settings
    return settings


def parse_or_resume(
    schema: type[C],
    args: Sequence[str],
    presets: Mapping[str, Preset],
    program: str,
    may_change: Container[str],
    start: str = "default",
) -> tuple[C, RunFolder | None]:
    """Return the settings of a new run, or those of the run to resume and its folder.

    Args:
        schema: dataclass of the settings.
        args: the command line.
        presets: presets by name.
        program: name of the command on the help page.
        may_change: names of settings that a resumed run may change.
        start: preset that a new run starts from unless `--config` names another.

    Raises:
        ValueError: if a flag, a value or the preset is unknown, if there is no such run, or if a
            setting of a resumed run would change.
    """
    launch = parse_part(Launch, args)
    if launch.resume is None:
        _, values = choose(presets, start if launch.config is None else launch.config, "preset")
        default = override(schema(), values)
        return parse_with_presets(schema, default, args, presets, program), None
    folder = RunFolder(resumed_folder(launch, args))
    stored = read_config(folder, schema)
    settings = parse_with_presets(schema, stored, args, presets, program)
    refuse_changes(named_values(stored), named_values(settings), may_change)
    return settings, folder


def resumed_folder(launch: Launch, args: Sequence[str]) -> Path:
    """Return the folder of the run to resume.

    Raises:
        ValueError: if no folder or several are given, or both a preset and a folder.
    """
    if launch.config is not None:
        raise ValueError("--resume takes the settings of the run: leave --config out")
    run_dir = parse_part(_RunDir, args).run_dir
    paths = {*(launch.resume or ()), *([] if run_dir is None else [run_dir])}
    if len(paths) != 1:
        given = ", ".join(sorted(map(str, paths))) or "none"
        raise ValueError(
            f"--resume needs one run folder, got {given}: give --resume FOLDER or "
            "--run-dir FOLDER --resume"
        )
    return paths.pop()


def choose(options: Mapping[str, T], name: str, kind: str) -> T:
    """Return the option of a name; `kind` is the word for it in the error.

    Raises:
        ValueError: if there is no such option.
    """
    if name not in options:
        raise ValueError(f"unknown {kind} {name!r}: {_nearest(name, options)}")
    return options[name]


def override(settings: C, values: Values) -> C:
    """Return settings with some values replaced, all at once.

    Args:
        settings: a dataclass, possibly nested.
        values: values by the dotted names of their settings.

    Raises:
        ValueError: if there is no such setting, or the settings refuse the values.

    >>> override(Launch(), {"config": "small"}).config
    'small'
    """
    paths = setting_paths(type(settings))
    nested: dict[str, Any] = {}
    for name, value in values.items():
        if name not in paths:
            raise ValueError(f"unknown setting {name!r}: {_nearest(name, paths)}")
        *records, field = paths[name]
        inner = nested
        for record in records:
            inner = inner.setdefault(record, {})
        inner[field] = value
    changed: C = _replaced(settings, nested)
    return changed


def _replaced(record: Any, values: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Return a dataclass with values replaced; those of nested dataclasses are mappings."""
    parts = {name: getattr(record, name) for name in values}
    return replace(
        record,
        **{
            name: _replaced(part, values[name]) if is_dataclass(part) else values[name]
            for name, part in parts.items()
        },
    )


def flags(schema: type[Any]) -> Iterator[str]:
    """Yield the flags of a dataclass, those of nested ones included.

    >>> list(flags(Launch))
    ['--config', '--resume']
    """
    positional = {
        each.name for each in fields(schema) if tyro.conf.Positional in _metadata(each.type)
    }
    for name, path in setting_paths(schema).items():
        if path[0] not in positional:
            yield f"--{name.replace('_', '-')}"


def setting_paths(schema: type[Any], prefix: str = "") -> dict[str, tuple[str, ...]]:
    """Return the fields that lead to each setting, by its dotted name.

    The name is that of the flag, with underscores: `tyro.conf.arg(name=...)` renames a field, an
    empty name leaves the name of a nested dataclass out, and `prefix_name=False` leaves out those
    of all dataclasses around a field.
    """
    paths: dict[str, tuple[str, ...]] = {}
    for each in fields(schema):
        args = [part for part in _metadata(each.type) if hasattr(part, "name")]
        renamed = [part.name for part in args if part.name is not None]
        own = renamed[0].replace("-", "_") if renamed else each.name
        kind = getattr(each.type, "__origin__", each.type)  # without Annotated
        if isinstance(kind, type) and is_dataclass(kind):
            inner = setting_paths(kind, f"{prefix}{own}." if own else prefix)
            paths |= {name: (each.name, *path) for name, path in inner.items()}
        else:
            around = "" if any(part.prefix_name is False for part in args) else prefix
            paths[around + own] = (each.name,)
    return paths


def named_values(settings: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return all values of a dataclass by the names of `setting_paths`.

    >>> named_values(Launch(config="small"))
    {'config': 'small', 'resume': None}
    """
    return {
        name: reduce(getattr, path, settings)
        for name, path in setting_paths(type(settings)).items()
    }


def _metadata(annotation: Any) -> tuple[Any, ...]:  # noqa: ANN401
    """Return what `Annotated` adds to a type."""
    return tuple(getattr(annotation, "__metadata__", ()))


def _refuse_unknown(unknown: Sequence[str], known: Iterable[str]) -> None:
    if unknown:
        name = unknown[0].split("=")[0]
        raise ValueError(f"unknown argument {name!r}: {_nearest(name, set(known))}")


def _nearest(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, known, n=3)
    if close:
        return f"did you mean {' or '.join(close)}? --help lists all"
    return f"choose from {', '.join(sorted(known))}"


@contextlib.contextmanager
def _one_line_errors(schema: type[Any]) -> Iterator[None]:
    """Turn the error page that tyro prints into a ValueError of one line.

    Tyro puts the name of the dataclass, or of the field that holds it, before the message of a
    dataclass that refuses its values. Neither is a name on the command line.
    """
    page = io.StringIO()
    try:
        with contextlib.redirect_stderr(page):
            yield
    except SystemExit as error:
        if not error.code:
            raise
        message = _first_paragraph(page.getvalue())
        raise ValueError(re.sub(rf"^({schema.__name__}: |settings\.)", "", message)) from None


_SIDES = "\u2502 "
_FRAME = "\u2500\u256d\u256e\u256f\u2570-" + _SIDES


def _first_paragraph(page: str) -> str:
    """Return the first paragraph inside the box, or below the rule, of an error page of tyro."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", page)
    paragraph: list[str] = []
    for line in text.splitlines()[1:]:  # the first line is a title
        if line.strip(_FRAME):
            paragraph.append(line.strip(_SIDES))
        elif paragraph:
            break
    return (" ".join(paragraph) or text.strip()).removeprefix("Error parsing ")
