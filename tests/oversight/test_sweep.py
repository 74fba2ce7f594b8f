"""The command `oversight.sweep` refuses invalid arguments in one line, with exit code 2."""

from pathlib import Path

import pytest

from tests.oversight.rl.tiny_studies import run_sweep
from tests.oversight.runs.refusals import Capture, refused


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("", "Missing STR Name of a study"),
        ("tny", "unknown study 'tny' mean tiny"),
        ("tiny --sedes 0", "'--sedes' mean --seeds"),
        ("tiny --methods ruted", "no method 'ruted' choose naive, routed"),
        ("tiny --seeds 0 900", "no seed 900 choose 0, 1"),
        ("tiny --oversight-probabilities 0.1", "no oversight probability 0.1 choose 0.5"),
        ("tiny --workers 0", "workers 0 1 or more"),
        ("tiny --engine dask", "'dask' --engine 'joblib', 'ray'"),
        ("tiny --workers 0", "error: workers 0 was given: give"),
        ("tiny --address 10.0.0.1:6379", "--address --engine ray"),
        (
            "tiny --folder FILE/x",
            "FILE/x cannot be written (Not a directory): name another --folder",
        ),
    ],
)
def test_sweep_refuses_invalid_arguments(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").touch()
    line = refused(capsys, run_sweep, *flags.split())
    for word in words.split():
        assert word in line
    assert [path.name for path in tmp_path.iterdir()] == ["FILE"]
