"""The command line: presets and flags by tyro, and every user error as one line."""

import contextlib
import io
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import tyro

C = TypeVar("C")
Presets = Mapping[str, Callable[[], C]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """Where the settings start from."""

    config: str | None = None
    """Preset to start from; flags change single values of it."""
    resume: tuple[Path, ...] | None = None
    """Go on with the run in this folder, or in --run-dir, with its settings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """The part of the settings that says where a run lies."""

    run_dir: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Command(Generic[C]):
    """A launch and the settings that follow from it, side by side on one help page."""

    launch: Annotated[Launch, tyro.conf.arg(name="")]
    settings: Annotated[C, tyro.conf.arg(name="")]


def parse_part(schema: type[C], args: Sequence[str]) -> C:
    """Read only the flags of one record, such as `Launch`, from among others."""
    with _one_line_errors():
        part, _ = tyro.cli(schema, args=args, return_unknown_args=True, add_help=False)
    return part


def resumed_folder(launch: Launch, args: Sequence[str]) -> Path:
    """Return the folder of the run to go on with.

    Raises:
        ValueError: if none or several are named, or a preset is, which it has settings without.
    """
    if launch.config is not None:
        raise ValueError("--resume takes the settings of the run: leave --config out")
    beside = parse_part(Place, args).run_dir
    paths = {*(launch.resume or ()), *([] if beside is None else [beside])}
    if len(paths) != 1:
        given = ", ".join(sorted(map(str, paths))) or "none"
        raise ValueError(
            f"--resume needs one run folder, got {given}: --resume FOLDER, or beside --run-dir"
        )
    return paths.pop()


def preset(presets: Presets[C], name: str, what: str = "preset") -> C:
    """Return a preset by its name; `what` is what errors call it.

    Raises:
        ValueError: if there is none of that name.
    """
    if name not in presets:
        raise ValueError(f"unknown {what} {name!r}: {_nearest(name, presets)}")
    return presets[name]()


def parse(schema: type[C], default: C, args: Sequence[str], presets: Presets[C], program: str) -> C:
    """Return the settings: the default's values, changed by flags.

    Args:
        schema: the record of the settings.
        default: where they start from.
        args: the command line.
        presets: listed on the help page.
        program: how the help page calls the command.

    Raises:
        ValueError: if a flag or a value is unknown.
    """
    listed = "\n".join(f"- {name}: {_first_line(make)}" for name, make in presets.items())
    command: Any = Command[schema]  # type: ignore[valid-type]
    with _one_line_errors():
        parsed, unknown = tyro.cli(
            command,
            prog=program,
            args=args,
            default=Command(launch=Launch(), settings=default),
            description=f"{_first_line(schema)}\n\nPresets:\n{listed}",
            return_unknown_args=True,
        )
    _refuse_unknown(unknown, {*flags(Launch), *flags(schema)})
    settings: C = parsed.settings
    return settings


def parse_simple(schema: type[C], args: Sequence[str], program: str) -> C:
    """Return the settings of a command without presets.

    Raises:
        ValueError: if a flag or a value is unknown.
    """
    with _one_line_errors():
        settings, unknown = tyro.cli(schema, prog=program, args=args, return_unknown_args=True)
    _refuse_unknown(unknown, set(flags(schema)))
    return settings


def run(main: Callable[[Sequence[str]], int | None], args: Sequence[str] | None = None) -> int:
    """Run a command, and return its exit code, 0 if it returns none.

    An error of the user's becomes one line on stderr and exit code 2.
    """
    try:
        code = main(sys.argv[1:] if args is None else args)
    except (ValueError, OSError) as error:  # the latter of a full disk, say
        message = " ".join(str(error).split())
        print(f"error: {message}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)  # noqa: T201
        return 130
    return code or 0


def flags(schema: type[Any], prefix: str = "--") -> Iterator[str]:
    """Yield the flags that a record's fields become.

    >>> list(flags(Launch))
    ['--config', '--resume']
    """
    for each in fields(schema):
        if tyro.conf.Positional in getattr(each.type, "__metadata__", ()):
            continue
        metadata = getattr(each.type, "__metadata__", ())
        named = [part.name for part in metadata if getattr(part, "name", None)]  # by tyro.conf.arg
        name = prefix + (named or [each.name.replace("_", "-")])[0]
        if isinstance(each.type, type) and is_dataclass(each.type):
            yield from flags(each.type, f"{name}.")
        else:
            yield name


def _refuse_unknown(unknown: Sequence[str], known: set[str]) -> None:
    if unknown:
        name = unknown[0].split("=")[0]
        raise ValueError(f"unknown argument {name!r}: {_nearest(name, known)}")


def _nearest(name: str, known: Mapping[str, Any] | set[str]) -> str:
    close = get_close_matches(name, known, n=3)
    if close:
        return f"did you mean {' or '.join(close)}? --help lists all"
    return f"choose from {', '.join(sorted(known))}"


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    """Turn tyro's error page into a ValueError of one line."""
    page = io.StringIO()
    try:
        with contextlib.redirect_stderr(page):
            yield
    except SystemExit as error:
        if not error.code:
            raise
        raise ValueError(_gist(page.getvalue())) from None


_SIDES = "\u2502 "
_FRAME = "\u2500\u256d\u256e\u256f\u2570-" + _SIDES


def _gist(page: str) -> str:
    """Return the first paragraph inside the box, or below the rule, that tyro draws."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", page)
    paragraph: list[str] = []
    for line in text.splitlines()[1:]:  # the first is a title
        if line.strip(_FRAME):
            paragraph.append(line.strip(_SIDES))
        elif paragraph:
            break
    return (" ".join(paragraph) or text.strip()).removeprefix("Error parsing ")


def _first_line(documented: object) -> str:
    return (getattr(documented, "__doc__", None) or "").strip().split("\n")[0]
