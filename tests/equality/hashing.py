"""Digests of results that do not depend on the names under which results are stored."""

import hashlib
import json
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

Digests = dict[str, Any]
"""From what was hashed, such as `weights`, to a JSON value; two trees agree if these are equal."""


@dataclass(frozen=True, slots=True)
class Case:
    """One computation whose results are compared between two checkouts.

    Attributes:
        name: identifies the case; the same in every checkout.
        run: computes the digests; it gets an empty folder to work in, and the current directory is
            the checkout under test, from which it starts processes.
    """

    name: str
    run: Callable[[Path], Digests]


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
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from leaves(inner, f"{path}.{index}")
    else:
        yield path, value


def tensor_digests(value: Any) -> list[str]:  # noqa: ANN401
    """Return the digests of all tensors and arrays inside a value, sorted, without their names."""
    found = (leaf for _, leaf in leaves(value) if isinstance(leaf, torch.Tensor | np.ndarray))
    return sorted(map(array_digest, found))


def numbers(value: Any, skip: Callable[[str], bool] = lambda path: False) -> list[str]:  # noqa: ANN401
    """Return all numbers inside a value as text, sorted, without their names.

    Args:
        value: nested mappings and sequences, as JSON has them.
        skip: is asked with the dotted path to a number; those for which it is true are left out.
    """
    return sorted(
        "nan" if isinstance(leaf, float) and math.isnan(leaf) else repr(leaf)
        for path, leaf in leaves(value)
        if isinstance(leaf, int | float) and not skip(path)
    )


def read_tensors(path: Path) -> Any:  # noqa: ANN401
    """Return what a file of tensors holds: safetensors, one of PyTorch's, or SB3's archive."""
    if path.suffix == ".safetensors":
        return load_file(path)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith((".pth", ".pt"))]
            read = {}
            for name in names:
                with archive.open(name) as file:
                    read[name] = torch.load(file, map_location="cpu", weights_only=True)
            return read
    return torch.load(path, map_location="cpu", weights_only=True)


def file_tensors(folder: Path, pattern: str) -> list[str]:
    """Return the digests of all tensors in the files below a folder that match a pattern."""
    found = [read_tensors(path) for path in sorted(folder.rglob(pattern))]
    return tensor_digests(found)


def read_json(path: Path) -> Any:  # noqa: ANN401
    """Return what a JSON file holds."""
    return json.loads(path.read_text(encoding="utf-8"))
