"""The development tool that compares two checkouts, on records written here."""

import json
from pathlib import Path

import pytest

from tests.equality.__main__ import main

RECORD = {"a case": {"weights": ["2 float32 ab", "3 float32 cd"], "tally": "2 of 2"}}


def test_compare_finds_a_record_equal_to_itself_and_names_what_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / name for name in ("before.json", "after.json")]
    changed = {"a case": {**RECORD["a case"], "weights": ["2 float32 ab", "3 float32 ef"]}}
    for path, record in zip(paths, (RECORD, changed), strict=True):
        path.write_text(json.dumps(record))
    assert main(["compare", *2 * [str(paths[0])]]) == 0
    assert "1 of 1 cases are equal" in capsys.readouterr().out
    assert main(["compare", *map(str, paths)]) == 1
    assert "a case: weights: 1 of 2 against 1 of 2" in capsys.readouterr().out
