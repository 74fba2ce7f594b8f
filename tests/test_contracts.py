"""Imports go one way: the contracts in pyproject.toml hold."""

from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).parent.parent


def test_import_contracts_hold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    status = lint_imports(no_cache=True, no_logo=True)
    printed = capsys.readouterr().out
    assert status == EXIT_STATUS_SUCCESS, printed
    assert " 0 broken" in printed
    assert " 0 kept" not in printed
