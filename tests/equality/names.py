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

RENAMED: dict[str, str] = {
    "--noise.missed": "--noise.false-positive",
    "--noise.lost": "--noise.dropped",
    "--weights leaky": "oracle_selection",
    "appraised": "reward-map",
    "appraised-unrouted": "reward-map-unrouted",
    "imputed-local": "imputed-map",
    "--ppo.blind": "--ppo.masked-channels",
    "--ppo.place": "--ppo.agent-channel",
    "lm.corpus:tell": "lm.corpus:sample_stories",
    "lm.judge:judge": "lm.labels:classify_documents",
    "lm.task:make_task": "lm.data.task:make_task",
    "lm.task:TaskConfig": "lm.data.task:TaskConfig",
    "lm.task:Task.tell": "lm.data.task:Task.sample",
    "filtered-judged": "filtered-classified",
    "parameters-judged": "parameters-classified",
    "modules-judged": "modules-classified",
    "lora-pair-judged": "lora-pair-classified",
    "--forms control": "choices-only",
}
"""From what the cases say to what this checkout says.

| what | in a case | here |
| --- | --- | --- |
| class, function | `envs:RecordTruth` | `envs:RecordTruth` |
| command, flag, word | `--ppo.blind` | `--ppo.blind`; words apart are several arguments |
| value of one flag | `--method paper` | `paper`; goes before an entry for `paper` alone |
| keyword argument | `place=` | `place=` |
| its value, if a string | `reward=proxy` | `proxy` |
| path in a checkpoint | `agent.environment` | `agent.environment` |
"""


def renamed(name: str, flag: str = "") -> str:
    """Return what the checkout in the current directory calls something.

    Args:
        name: what the cases call it.
        flag: what a value belongs to, `--method` or `reward=`, as the table's entry begins.
    """
    own = table(Path("tests/equality/names.py").absolute())
    return own.get(f"{flag}{name}", own.get(name, name))


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
    words = [str(arg) for arg in args]
    pairs = zip(["", *words], words, strict=False)
    return [own for flag, word in pairs for own in _words(word, renamed(word, f"{flag} "))]


def _words(given: str, own: str) -> list[str]:
    """Split what an entry of the table says, and keep any other argument as it is."""
    return [given] if own == given else own.split(" ")


def keywords(**arguments: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return keyword arguments under the names of the checkout."""
    named = {renamed(f"{name}=").removesuffix("="): name for name in arguments}
    given = {own: arguments[name] for own, name in named.items()}
    return {
        own: renamed(value, f"{named[own]}=") if isinstance(value, str) else value
        for own, value in given.items()
    }
