"""Processes of the checkout under test, which is the current directory."""

import os
import subprocess
import sys
from pathlib import Path

from tests.equality.names import flags

ONE_THREAD = {
    **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")},
    "TOKENIZERS_PARALLELISM": "false",
    "CUDA_VISIBLE_DEVICES": "",
    "COLUMNS": "400",
}
"""Sums depend on the order in which threads add, so that all runs have one."""


def python(*args: object, codes: tuple[int, ...] = (0,)) -> str:
    """Run `python ARGS` in the checkout, and return what it printed.

    Raises:
        RuntimeError: if it exits with another code than those allowed.
    """
    process = launch(*args)
    printed, errors = process.communicate()
    if process.returncode not in codes:
        command = " ".join(map(str, args))
        raise RuntimeError(f"python {command} exited with {process.returncode}:\n{errors}")
    return printed


def module(name: str, *args: object, codes: tuple[int, ...] = (0,)) -> str:
    """Run `python -m NAME ARGS` in the checkout, in its words, and return what it printed."""
    return python("-m", *flags(name, *args), codes=codes)


def start(name: str, *args: object) -> subprocess.Popen[str]:
    """Start `python -m NAME ARGS` in the checkout, in its words; its output is captured."""
    return launch("-m", *flags(name, *args))


def launch(*args: object) -> subprocess.Popen[str]:
    """Start `python ARGS` in the checkout; its output is captured."""
    command, pipe = [sys.executable, *map(str, args)], subprocess.PIPE
    return subprocess.Popen(
        command, env={**os.environ, **ONE_THREAD}, stdout=pipe, stderr=pipe, text=True
    )


def driver(name: str, *args: object) -> str:
    """Run a module of this package in a process whose other imports are the checkout's."""
    here = Path(__file__).parents[1]
    code = (
        f"import tests; tests.__path__.insert(0, {str(here)!r}); "
        f"import runpy; runpy.run_module('tests.equality.{name}', run_name='__main__')"
    )
    return python("-c", code, *args)
