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
    "COLUMNS": "200",
}
"""Sums depend on the order in which threads add, so that all runs have one."""


def python(*args: object, codes: tuple[int, ...] = (0,)) -> str:
    """Run `python ARGS` in the checkout, and return what it printed.

    Raises:
        RuntimeError: if it exits with another code than those allowed.
    """
    command = [sys.executable, *map(str, args)]
    done = subprocess.run(
        command, env={**os.environ, **ONE_THREAD}, capture_output=True, text=True, check=False
    )
    if done.returncode not in codes:
        raise RuntimeError(f"{' '.join(command)} exited with {done.returncode}:\n{done.stderr}")
    return done.stdout


def module(name: str, *args: object, codes: tuple[int, ...] = (0,)) -> str:
    """Run `python -m NAME ARGS` in the checkout, in its words, and return what it printed."""
    return python("-m", *flags(name, *args), codes=codes)


def driver(name: str, *args: object) -> str:
    """Run a module of this package in a process whose other imports are the checkout's."""
    here = Path(__file__).parents[1]
    code = (
        f"import tests; tests.__path__.insert(0, {str(here)!r}); "
        f"import runpy; runpy.run_module('tests.equality.{name}', run_name='__main__')"
    )
    return python("-c", code, *args)
