"""Global generators are restored, and every message of Python's logging is recorded."""

import logging
import random
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pytest
import torch

from oversight.certificate.process import (
    global_generators,
    kept_generators,
    quiet,
    recorded_messages,
)
from tests.oversight.certificate.traces import differ


def draw() -> None:
    """Draw from every global generator."""
    random.random()
    np.random.random()  # noqa: NPY002 (it is what is tested)
    torch.rand(1)


def draw_and_fail() -> None:
    """Draw, and raise an error."""
    draw()
    raise RuntimeError("it broke")


@pytest.mark.parametrize("context", [kept_generators, quiet])
def test_generators_are_restored_when_a_context_ends_or_fails(
    context: Callable[[], AbstractContextManager[None]],
) -> None:
    before = global_generators()
    with context():
        draw()
        assert differ(global_generators(), before)
    assert not differ(global_generators(), before)
    with pytest.raises(RuntimeError, match="it broke"), context():
        draw_and_fail()
    assert not differ(global_generators(), before)


def test_messages_are_recorded_from_the_level_info_on_whoever_handles_them() -> None:
    texts: list[str] = []
    loggers = [logging.getLogger(f"tests.{name}") for name in ("usual", "private", "failing")]
    loggers[1].propagate = False
    level = logging.getLogger().level
    with recorded_messages(lambda text, further: texts.append(text)):
        loggers[0].debug("not shown")
        loggers[0].info("%s steps", 8)
        loggers[1].info("private")
        loggers[2].info("failed", exc_info=ValueError("why"))
    loggers[0].warning("too late")
    assert texts == [
        "INFO tests.usual 8 steps",
        "INFO tests.private private",
        "INFO tests.failing failed ValueError('why')",
    ]
    assert logging.getLogger().level == level


def test_nothing_is_shown_when_it_is_quiet() -> None:
    texts: list[str] = []
    with (
        recorded_messages(lambda text, further: texts.append(text)),
        warnings.catch_warnings(record=True, action="always") as caught,
    ):
        with quiet():
            logging.getLogger("tests").error("hidden")
            warnings.warn("hidden", stacklevel=1)
        logging.getLogger("tests").info("shown")
    assert texts == ["INFO tests shown"]
    assert not caught
