"""`python -m tests.equality`: record digests of a checkout's results, or compare two records."""

import json
import os
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from tests.equality.hashing import Case

PARTS = {"rl": ("rl", "wrappers"), "certificate": ("certificate",), "lm": ("lm",)}
"""From the name of a part to the modules that hold its cases."""
SHOWN = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """Compute the digests of a checkout's results, and write them to a file."""

    out: Path
    """File to write, JSON."""
    tree: Path = Path()
    """Root of the checkout under test."""
    part: Literal["rl", "certificate", "lm", "all"] = "all"
    """Which cases are run."""
    only: str = ""
    """Run only the cases whose names contain this."""


@dataclass(frozen=True, slots=True)
class Compare:
    """Compare two records; exit with 1 if any result differs."""

    before: Annotated[Path, tyro.conf.Positional]
    """Record of one checkout."""
    after: Annotated[Path, tyro.conf.Positional]
    """Record of the other; cases that it lacks are counted, and are no difference."""


def record(settings: Record) -> int:
    """Run the cases, and return 1 if any of them failed."""
    cases = [case for case in chosen_cases(settings.part) if settings.only in case.name]
    out = settings.out.absolute()
    os.chdir(settings.tree)
    found: dict[str, Any] = {}
    for case in cases:
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as scratch:
            try:
                found[case.name] = case.run(Path(scratch))
                state = "done"
            except Exception:  # one broken case must not hide the others
                found[case.name] = {"error": traceback.format_exc()}
                state = "FAILED"
        print(f"{state} {time.monotonic() - start:6.1f} s  {case.name}", flush=True)
        out.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    failed = [name for name, digests in found.items() if "error" in digests]
    print(f"{len(found) - len(failed)} of {len(found)} cases recorded in {out}")
    return 1 if failed else 0


def chosen_cases(part: str) -> list[Case]:
    """Return the cases of a part, or of all."""
    modules = PARTS[part] if part in PARTS else sum(PARTS.values(), ())
    cases: list[Case] = []
    for name in modules:
        make: Callable[[], list[Case]] = import_module(f"tests.equality.{name}").cases
        cases += make()
    return cases


def compare(settings: Compare) -> int:
    """Print where two records differ, and return 1 if they do."""
    before, after = (json.loads(path.read_text()) for path in (settings.before, settings.after))
    common = [name for name in before if name in after]
    differing = [name for name in common if before[name] != after[name]]
    for name in differing:
        for key in dict.fromkeys([*before[name], *after[name]]):
            one, other = before[name].get(key), after[name].get(key)
            if one != other:
                print(f"{name}: {key}: {difference(one, other)}")
    if lacking := len(before) - len(common):
        print(f"{lacking} cases are not in {settings.after}")
    print(f"{len(common) - len(differing)} of {len(common)} cases are equal")
    return 1 if differing else 0


def difference(one: Any, other: Any) -> str:  # noqa: ANN401
    """Return what differs between two digests; of lists, what only one of them has."""
    if not (isinstance(one, list) and isinstance(other, list)):
        return f"{one} and {other}"
    left, right = Counter(map(str, one)), Counter(map(str, other))
    sides = [sorted((mine - theirs).elements()) for mine, theirs in ((left, right), (right, left))]
    shown = [", ".join(side[:SHOWN]) + (", ..." if len(side) > SHOWN else "") for side in sides]
    counts = f"{len(sides[0])} of {len(one)} against {len(sides[1])} of {len(other)}"
    return f"{counts}\n  {shown[0]}\n  {shown[1]}"


def main(args: Sequence[str]) -> int:
    """Do what the arguments say."""
    chosen: Record | Compare = tyro.extras.subcommand_cli_from_dict(
        {"record": Record, "compare": Compare}, args=args
    )
    return record(chosen) if isinstance(chosen, Record) else compare(chosen)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
