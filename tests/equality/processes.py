"""Processes of the checkout under test, which is the current directory."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.equality.hashing import Digests
from tests.equality.names import renamed

ONE_THREAD = {
    **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")},
    "TOKENIZERS_PARALLELISM": "false",
    "CUDA_VISIBLE_DEVICES": "",
    "COLUMNS": "400",
}
"""The order in which threads add changes sums, so that every process uses one thread."""
PATIENCE = 120.0
"""Seconds to wait for a checkpoint."""


def run_python(*args: object, codes: tuple[int, ...] = (0,)) -> str:
    """Run `python ARGS` in the checkout, and return its output.

    Raises:
        RuntimeError: if it exits with a code that is not among `codes`.
    """
    command = [sys.executable, *map(str, args)]
    environment = {**os.environ, **ONE_THREAD}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode not in codes:
        line = " ".join(command[1:])
        raise RuntimeError(f"python {line} exited with {ended.returncode}:\n{ended.stderr}")
    return ended.stdout


def run_module(name: str, *args: object, codes: tuple[int, ...] = (0,)) -> str:
    """Run `python -m NAME ARGS` in the checkout and in its words, and return its output."""
    return run_python("-m", name, *(renamed(str(arg)) for arg in args), codes=codes)


def kill_at_checkpoint(folder: Path, pattern: str, name: str, *args: object) -> Path:
    """Kill a module and its children once a file in `folder` matches, and return the file.

    Raises:
        RuntimeError: if the module ends before it can be killed, or writes no file in time.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", name, *(renamed(str(arg)) for arg in args)],
        env={**os.environ, **ONE_THREAD},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + PATIENCE
    while not (checkpoints := list(folder.rglob(pattern))):
        if process.poll() is not None or time.monotonic() > deadline:
            break
        time.sleep(0.001)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    if process.wait() != -signal.SIGKILL or not checkpoints:
        raise RuntimeError(f"{name} left no checkpoint before it ended or the time was up")
    return checkpoints[0]


def run_driver(name: str, *args: object) -> Digests:
    """Run a module of this package in a process that imports everything else from the checkout.

    Returns:
        what it prints, a JSON object.
    """
    here = Path(__file__).parents[1]
    code = (
        f"import tests; tests.__path__.insert(0, {str(here)!r}); "
        f"import runpy; runpy.run_module('tests.equality.{name}', run_name='__main__')"
    )
    return dict(json.loads(run_python("-c", code, *args)))
