"""The line that a command prints when it refuses its arguments."""

from collections.abc import Callable

import pytest

Run = Callable[..., int]
Capture = pytest.CaptureFixture[str]


def refused(capsys: Capture, run: Run, *args: object) -> str:
    """Assert that a command exits with 2 and prints one line of error; return the line."""
    capsys.readouterr()
    assert run(*args) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert captured.err.endswith("\n")
    return captured.err
