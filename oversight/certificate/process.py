"""What a process has only one of: global random generators, Python's logging, and warnings."""

import logging
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def global_generators() -> dict[str, Any]:
    """Return the states of the global generators of Python, NumPy and PyTorch."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),  # noqa: NPY002 (it is what others may draw from)
        "torch": torch.get_rng_state(),
    }


def set_global_generators(states: dict[str, Any]) -> None:
    """Restore the states that `global_generators` returned."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])  # noqa: NPY002 (as above)
    torch.set_rng_state(states["torch"])


@contextmanager
def kept_generators() -> Iterator[None]:
    """Restore the global generators at the end."""
    states = global_generators()
    try:
        yield
    finally:
        set_global_generators(states)


@contextmanager
def recorded_messages(add: Callable[[str], None]) -> Iterator[None]:
    """Call a function with each message of Python's `logging` from the level INFO on.

    Records are seen as they are made, so that no handler and no `propagate` hides one.
    """
    make, root = logging.getLogRecordFactory(), logging.getLogger()
    level = root.level

    def make_and_add(*arguments: Any, **further: Any) -> logging.LogRecord:  # noqa: ANN401
        record = make(*arguments, **further)
        error = record.exc_info[1] if record.exc_info else None
        try:
            text = record.getMessage()
        except (TypeError, ValueError):  # arguments that do not fit, which handlers report
            text = f"{record.msg} {record.args}"
        words = (record.levelname, record.name, text, *([] if error is None else [repr(error)]))
        add(" ".join(words))
        return record

    logging.setLogRecordFactory(make_and_add)
    root.setLevel(min(level, logging.INFO) if level else logging.INFO)
    try:
        yield
    finally:
        root.setLevel(level)
        logging.setLogRecordFactory(make)


@contextmanager
def quiet() -> Iterator[None]:
    """Let nothing inside draw from the process's generators, warn, or log."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with kept_generators(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
