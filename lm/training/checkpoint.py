"""Checkpoints of training, in files that execute nothing when read."""

import io
import zipfile
from pathlib import Path
from typing import Any

import torch

from oversight.files import replace_file

FORMAT = "language model training 1"


def write(state: dict[str, Any], path: Path) -> None:
    """Write tensors and plain numbers so that a kill leaves the old file or the new one."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    replace_file(path, buffer.getvalue())


def read(path: Path) -> dict[str, Any]:
    """Read what `write` wrote; nothing in the file is executed.

    Raises:
        ValueError: if the file is damaged or something else.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load does not check the sums
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"{damaged} is damaged")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # there is no end to what damaged bytes can raise
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise ValueError(
            f"{path} is not a whole checkpoint ({reason}): remove it to start training anew"
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise ValueError(f"{path} is no checkpoint of this training loop: remove it or rename it")
    return state
