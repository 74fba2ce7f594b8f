"""`python -m tests.equality`: record digests of a checkout's results, or compare two records."""

import json
import os
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import tyro

from tests.equality.hashing import Case

MODULES = {"rl": ("rl", "wrappers"), "certificate": ("certificate",), "lm": ("lm",)}
"""The modules that hold the cases of each part."""
MOST_SHOWN = 6
"""Values that are printed of those that only one of two records has."""

app = tyro.extras.SubcommandApp()


@app.command
def record(
    *,
    out: Path,
    tree: Path = Path(),
    part: Literal["rl", "certificate", "lm", "all"] = "all",
    only: str = "",
) -> int:
    """Write the digests of a checkout's results to a file, and return 1 if a case failed.

    Args:
        out: JSON file to write.
        tree: root of the checkout under test.
        part: the part whose cases are run.
        only: run only cases whose names contain this.
    """
    out = out.absolute()
    os.chdir(tree)
    results: dict[str, Any] = {}
    for name, case in cases_of(part).items():
        if only not in name:
            continue
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as scratch:
            try:
                results[name] = case(Path(scratch))
                state = "done"
            except Exception:  # one broken case must not hide the others
                results[name] = {"error": traceback.format_exc()}
                state = "FAILED"
        print(f"{state} {time.monotonic() - start:6.1f} s  {name}", flush=True)
        out.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    failed = [name for name, digests in results.items() if "error" in digests]
    print(f"{len(results) - len(failed)} of {len(results)} cases recorded in {out}")
    return 1 if failed else 0


def cases_of(part: str) -> dict[str, Case]:
    """Return the cases of a part, or of all parts, by name."""
    chosen = MODULES[part] if part in MODULES else sum(MODULES.values(), ())
    cases: dict[str, Case] = {}
    for name in chosen:
        cases |= import_module(f"tests.equality.{name}").cases()
    return cases


@app.command
def compare(before: tyro.conf.Positional[Path], after: tyro.conf.Positional[Path]) -> int:
    """Print where two records differ, and return 1 if they do.

    Args:
        before: record of one checkout.
        after: record of another one; cases that it lacks are counted, but are no difference.
    """
    one, other = (json.loads(path.read_text(encoding="utf-8")) for path in (before, after))
    common = [name for name in one if name in other]
    differing = [name for name in common if one[name] != other[name]]
    for name in differing:
        for key in dict.fromkeys([*one[name], *other[name]]):
            values = one[name].get(key), other[name].get(key)
            if values[0] != values[1]:
                print(f"{name}: {key}: {difference(*values)}")
    if missing := len(one) - len(common):
        print(f"{missing} cases are not in {after}")
    print(f"{len(common) - len(differing)} of {len(common)} cases are equal")
    return 1 if differing else 0


def difference(one: Any, other: Any) -> str:  # noqa: ANN401
    """Describe the difference of two digests; of lists, print what only one of them has."""
    if not (isinstance(one, list) and isinstance(other, list)):
        return f"{one} and {other}"
    left, right = Counter(map(str, one)), Counter(map(str, other))
    sides = [sorted((left - right).elements()), sorted((right - left).elements())]
    shown = [", ".join(side[:MOST_SHOWN]) + ", ..." * (len(side) > MOST_SHOWN) for side in sides]
    counts = f"{len(sides[0])} of {len(one)} against {len(sides[1])} of {len(other)}"
    return f"{counts}\n  {shown[0]}\n  {shown[1]}"


def main(args: Sequence[str]) -> int:
    """Run the chosen command, and return its exit code."""
    return int(app.cli(args=args))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
