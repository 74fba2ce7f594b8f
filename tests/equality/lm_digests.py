"""Digests of what the commands of the language models write and print."""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.equality.hashing import (
    Digests,
    leaves,
    numbers,
    read_json,
    read_tensors,
    tensor_digests,
)
from tests.equality.names import renamed

TIMING = re.compile(r"second|speed|memory", re.IGNORECASE)
SETTINGS = re.compile(r"^(study|config|settings)\.")
SAMPLE_LENGTH = 60
"""Characters from which on a text in a result is one that a model wrote, and not a name."""

Skip = Callable[[str], bool]
"""Returns whether the number at a dotted path of a result is left out."""


def keep_all(path: str) -> bool:
    """Leave out no number."""
    del path
    return False


def run_folder(study: Path, method: str) -> Path:
    """Return the folder of a method's run of seed 0."""
    return study / "runs" / f"{renamed(method)}-seed0"


def digests(study: Path, methods: Sequence[str], skip: Skip = keep_all) -> Digests:
    """Return weights, metrics, TensorBoard's curves and texts of runs of seed 0, by method."""
    found: Digests = {}
    for method in methods:
        run = run_folder(study, method)
        result = read_json(run / "result.json")
        found[f"{method} weights"] = weights(run)
        found[f"{method} metrics"] = metrics(result, skip)
        found[f"{method} curves"] = events(run)
        found[f"{method} texts"] = text_digest(
            leaf
            for _, leaf in leaves(result)
            if isinstance(leaf, str) and len(leaf) > SAMPLE_LENGTH
        )
    return found


def weights(folder: Path) -> list[str]:
    """Return a digest for each file of weights below a folder, of its tensors without names."""
    found = [tensor_digests(read_tensors(path)) for path in folder.rglob("*.safetensors")]
    return sorted(f"{len(tensors)} tensors {text_digest(tensors)}" for tensors in found)


def text_digest(texts: Iterable[str]) -> str:
    """Return a hash of texts in whatever order."""
    return hashlib.sha256("\n".join(sorted(texts)).encode()).hexdigest()[:20]


def metrics(result: Any, skip: Skip = keep_all) -> list[str]:  # noqa: ANN401
    """Return the numbers of a result that are no counts, settings or times, as sorted text."""

    def left_out(path: str) -> bool:
        return bool(TIMING.search(path) or SETTINGS.search(path)) or skip(path)

    every = numbers(result, left_out)
    return [number for number in every if not re.fullmatch(r"-?\d+|True|False", number)]


def in_rows_of(result: Any, attack: str) -> Skip:  # noqa: ANN401
    """Return what tells whether a dotted path is inside of a row about an attack."""
    paths = [path for path, leaf in leaves(result) if leaf == renamed(attack)]
    rows = tuple(f"{path.rpartition('.')[0]}." for path in paths)
    return lambda path: path.startswith(rows)


def events(run: Path) -> list[str]:
    """Return the values of TensorBoard's curves of a run, as sorted text."""
    read = EventAccumulator(str(run), size_guidance={"scalars": 0})
    read.Reload()
    tags = [tag for tag in read.Tags()["scalars"] if not TIMING.search(tag)]
    return sorted(repr(event.value) for tag in tags for event in read.Scalars(tag))


def printed_numbers(printed: str, folder: Path) -> list[str]:
    """Return the decimal numbers and percentages of tables and verdict, as sorted text."""
    lines = [line for line in printed.splitlines() if str(folder) not in line]
    return sorted(re.findall(r"-?\d+\.\d+|\d+%", "\n".join(lines)))
