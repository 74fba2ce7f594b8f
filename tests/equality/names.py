"""The names that this checkout has for what the cases name: modules, flags and methods.

A case asks for everything by the name that it was written with, and gets the checkout's own. A
checkout whose names are those of the cases needs no entry, and a checkout without this file none
at all. So a commit that renames something adds a line here, and older checkouts stay comparable.
"""

import importlib
import runpy
from functools import cache
from pathlib import Path
from typing import Any

RENAMED: dict[str, str] = {
    "--noise.missed": "--noise.false-positive",
    "--noise.lost": "--noise.dropped",
    "--ppo.blind": "--ppo.masked-channels",
    "--ppo.place": "--ppo.agent-channel",
    "leaky": "oracle_selection",
    "control": "choices-only",
    "appraised": "reward-map",
    "appraised-unrouted": "reward-map-unrouted",
    "imputed-local": "imputed-map",
    "filtered-judged": "filtered-classified",
    "parameters-judged": "parameters-classified",
    "modules-judged": "modules-classified",
    "lora-pair-judged": "lora-pair-classified",
    "lm.corpus:tell": "lm.corpus:sample_stories",
    "lm.judge:judge": "lm.classifier:classify_documents",
    "lm.task:make_task": "lm.data.task:make_task",
    "lm.task:TaskConfig": "lm.data.task:TaskConfig",
    "lm.task:Task.tell": "lm.data.task:Task.sample",
}
"""From the names in the cases to those of this checkout: words of commands, and `module:name`."""


def renamed(name: str) -> str:
    """Return the name that the checkout in the current directory has for a name of the cases."""
    return read_table(Path("tests/equality/names.py").absolute()).get(name, name)


@cache
def read_table(path: Path) -> dict[str, str]:
    """Return the table in a checkout's copy of this file, which is empty if it has none."""
    table: dict[str, str] = runpy.run_path(str(path))["RENAMED"] if path.exists() else {}
    return table


def load(name: str) -> Any:  # noqa: ANN401
    """Return a class or function of the checkout, by the `module:name` of the cases."""
    module, _, attribute = renamed(name).partition(":")
    return getattr(importlib.import_module(module), attribute)
