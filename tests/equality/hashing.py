"""Digests of results that do not depend on the names under which results are stored."""

import hashlib
import json
import math
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

Digests = dict[str, Any]
"""From what was hashed, such as `weights`, to a JSON value; two trees agree if these are equal."""
Case = Callable[[Path], Digests]
"""Computes digests, given an empty folder to work in.

The current directory is the checkout under test, in which it starts processes. A case is known by
its name, which is the same in every checkout.
"""


def hashed(parts: Iterable[str]) -> str:
    """Return a hash of texts, joined by line ends."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:20]


def array_digest(array: Any) -> str:  # noqa: ANN401 (a tensor, or all that NumPy takes)
    """Return shape, dtype and a hash of the bytes of a tensor or an array.

    >>> array_digest(np.zeros(2)) == array_digest(torch.zeros(2, dtype=torch.float64))
    True
    """
    if isinstance(array, torch.Tensor):
        array = array.detach().cpu().contiguous()
        if array.dtype == torch.bfloat16:
            return array_digest(array.view(torch.int16)).replace("int16", "bfloat16")
        array = array.numpy()
    array = np.ascontiguousarray(array)
    shape = "x".join(map(str, np.shape(array)))
    return f"{shape} {array.dtype} {hashlib.sha256(array.tobytes()).hexdigest()[:20]}"


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    """Yield every value inside nested mappings and sequences, with the dotted path to it."""
    if isinstance(value, Mapping | list | tuple):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for name, inner in items:
            yield from leaves(inner, f"{path}.{name}" if path else str(name))
    else:
        yield path, value


def tensor_digests(value: Any) -> list[str]:  # noqa: ANN401
    """Return the digests of all tensors and arrays inside a value, sorted, without their names."""
    return sorted(
        array_digest(leaf)
        for _, leaf in leaves(value)
        if isinstance(leaf, torch.Tensor | np.ndarray)
    )


def numbers(value: Any, skip: str = "$^") -> list[str]:  # noqa: ANN401
    """Return all numbers inside a value as text, sorted, without their names.

    Args:
        value: nested mappings and sequences, as JSON has them.
        skip: regular expression; a number is left out if the dotted path to it matches.
    """
    return sorted(
        "nan" if isinstance(leaf, float) and math.isnan(leaf) else repr(leaf)
        for path, leaf in leaves(value)
        if isinstance(leaf, int | float) and not re.search(skip, path)
    )


def read_tensors(path: Path) -> Any:  # noqa: ANN401
    """Return what a file of tensors holds: safetensors, one of PyTorch's, or SB3's archive."""
    if path.suffix == ".safetensors":
        return load_file(path)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            read = {}
            for name in archive.namelist():
                if name.endswith((".pth", ".pt")):
                    with archive.open(name) as file:
                        read[name] = torch.load(file, map_location="cpu", weights_only=True)
            return read
    return torch.load(path, map_location="cpu", weights_only=True)


def file_tensors(folder: Path, pattern: str) -> list[str]:
    """Return the digests of all tensors in the files below a folder that match a pattern."""
    return tensor_digests([read_tensors(path) for path in folder.rglob(pattern)])


def read_json(path: Path) -> Any:  # noqa: ANN401
    """Return what a JSON file holds."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_scalars(folder: Path, skip: str) -> list[tuple[int, float]]:
    """Return steps and values of TensorBoard's curves, without those whose tags match `skip`.

    Where each policy has a log of its own, the deployed module has one; before it had two.
    """
    points: list[tuple[int, float]] = []
    for log in sorted({path.parent for path in folder.rglob("events.out.tfevents.*")}):
        events = EventAccumulator(str(log), size_guidance={"scalars": 0}).Reload()
        tags = [tag for tag in events.Tags()["scalars"] if not re.search(skip, tag)]
        own = [(point.step, point.value) for tag in tags for point in events.Scalars(tag)]
        points += own * (2 if log.name.endswith("-deployed") else 1)
    return points
