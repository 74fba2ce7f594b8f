"""What a process has only one of: random generators, the data of classes, logging, warnings."""

import logging
import random
import re
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch.utils.hooks import RemovableHandle

from oversight.certificate.digests import data_of_class, digest_of, is_own


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
def kept_classes() -> Iterator[None]:
    """Restore the data of all classes at the end, so that the next run starts with the same.

    So it is with PyTorch's counter of hooks, by whose numbers a module stores them.
    """
    before = {kind: data_of_class(kind) for kind in _own_classes()}
    digests = {kind: _digest_of_data(data) for kind, data in before.items()}
    copies = {kind: _copied(data) for kind, data in before.items()}
    handle = RemovableHandle.next_id
    try:
        yield
    finally:
        RemovableHandle.next_id = handle
        for kind, data in before.items():
            after = data_of_class(kind)
            if _digest_of_data(after) != digests[kind]:
                _restore(kind, after, data, copies[kind])


def _own_classes() -> list[type]:
    """Return all classes of the process that are no library's."""
    found: dict[type, None] = {}
    waiting: list[type] = [object]
    while waiting:
        below: list[type] = type.__subclasses__(waiting.pop())
        waiting += [kind for kind in below if kind not in found]
        found |= dict.fromkeys(below)
    return [kind for kind in found if is_own(kind)]


def _digest_of_data(data: dict[str, Any]) -> bytes:
    return digest_of(data, "class", "by class") if data else b""


def _copied(data: dict[str, Any]) -> dict[str, Any]:
    """Return copies of values, where they can be copied."""
    copies = {}
    for name, value in data.items():
        try:
            copies[name] = deepcopy(value)
        except Exception:  # classes raise what they like
            copies[name] = value
    return copies


def _restore(
    kind: type, after: dict[str, Any], before: dict[str, Any], copies: dict[str, Any]
) -> None:
    """Give a class the data that it had: the same objects, with the same content."""
    for name in after.keys() - before.keys():
        delattr(kind, name)
    for name, value in before.items():
        if isinstance(value, dict | set):
            value.clear()
            value.update(copies[name])
        elif isinstance(value, list | deque):
            value.clear()
            value.extend(copies[name])
        setattr(kind, name, value if isinstance(value, dict | set | list | deque) else copies[name])


FIELDS_OF_RECORD = vars(logging.makeLogRecord({})).keys()


@contextmanager
def recorded_messages(add: Callable[[str, object], None]) -> Iterator[None]:
    """Call a function with each message of Python's `logging` from the level INFO on.

    Records are seen before any filter or handler, whether or not a logger propagates them.

    Args:
        add: takes the message, and what else a handler can show of it: its place in the code, its
            exception, and its fields from `extra`.
    """
    handle, root = logging.Logger.handle, logging.getLogger()
    level = root.level

    def add_and_handle(logger: logging.Logger, record: logging.LogRecord) -> None:
        if record.levelno > root.manager.disable:
            add(*_parts_of_record(record))
        handle(logger, record)

    root.setLevel(min(level, logging.INFO) if level else logging.INFO)
    try:
        with patch.object(logging.Logger, "handle", add_and_handle):
            yield
    finally:
        root.setLevel(level)


def _parts_of_record(record: logging.LogRecord) -> tuple[str, object]:
    """Return the message of a record, and what else can be shown of it, but the time."""
    error = record.exc_info[1] if record.exc_info else None
    try:
        text = record.getMessage()
    except (TypeError, ValueError):  # arguments that do not fit, which handlers report
        text = f"{record.msg} {record.args}"
    words = (record.levelname, str(record.name), text, *([] if error is None else [repr(error)]))
    extra = {k: value for k, value in vars(record).items() if k not in FIELDS_OF_RECORD}
    place = (record.pathname, record.lineno, record.funcName, record.stack_info)
    return " ".join(words), [record.levelno, place, error, extra]


def without_addresses(text: str) -> str:
    """Return a text in which the memory addresses of objects have no digits.

    >>> without_addresses("<Env object at 0x7f1c> is not <Env object at 0x7f2c>")
    '<Env object at an address> is not <Env object at an address>'
    """
    return re.sub(r" at 0x[0-9a-fA-F]+>", " at an address>", text)


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
