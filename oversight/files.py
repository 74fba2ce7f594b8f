"""Files written whole: whoever reads one sees the old content or the new, never a part."""

import os
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Write a file whole, also where a kill comes between, or another process writes it too.

    Raises:
        ValueError: if it cannot be written, as on a full disk; the old file stays as it was.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        try:
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ValueError(
            f"{path} cannot be written ({error.strerror}): make room, or choose another folder"
        ) from error
