"""One process at a time in the folder of a run."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(folder: Path, patience: float = 5.0) -> Iterator[None]:
    """Keep other processes out of a run; the system lifts the lock when this one dies.

    Args:
        folder: of the run.
        patience: seconds to wait for the lock, since a killed sweep's processes take one to end.

    Raises:
        ValueError: if another process keeps it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        deadline = time.monotonic() + patience
        while not _try_lock(file.fileno()):
            if time.monotonic() > deadline:
                raise ValueError(
                    f"another process is at work in {folder}: wait for its end, then start again"
                )
            time.sleep(0.1)
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
