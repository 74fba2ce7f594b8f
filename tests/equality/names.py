"""What this checkout calls what the cases name: modules, classes, flags, methods, parameters.

A case asks for everything by the name that it was written with, and gets the checkout's own. A
checkout whose names are those of the cases needs no entry, and a checkout without this file none
at all. So a commit that renames something adds a line here, and older checkouts stay comparable.
"""

import importlib
import runpy
from functools import cache
from pathlib import Path
from typing import Any

RENAMED: dict[str, str] = {}
"""From the name in a case to the name in this checkout.

Classes and functions are `module:name`, commands `oversight.train`, flags `--ppo.blind`, methods
their word, keyword arguments `name=`, keys of files `file:key`.
"""


def renamed(name: str) -> str:
    """Return what the checkout in the current directory calls something."""
    return table(Path("tests/equality/names.py").absolute()).get(name, name)


@cache
def table(path: Path) -> dict[str, str]:
    """Return the names that a checkout's own copy of this file holds; none where it has none."""
    found: dict[str, str] = runpy.run_path(str(path))["RENAMED"] if path.exists() else {}
    return found


def load(name: str) -> Any:  # noqa: ANN401
    """Return a class or function of the checkout, by the `module:name` of the cases."""
    module, _, attribute = renamed(name).partition(":")
    return getattr(importlib.import_module(module), attribute)


def flags(*args: object) -> list[str]:
    """Return command-line arguments in the words of the checkout."""
    return [renamed(str(arg)) for arg in args]


def keywords(**arguments: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return keyword arguments under the names of the checkout."""
    return {renamed(f"{name}=").removesuffix("="): value for name, value in arguments.items()}
