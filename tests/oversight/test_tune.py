"""The command `oversight.tune` refuses invalid arguments in one line, with exit code 2."""

from pathlib import Path

import pytest

from tests.oversight.rl.tiny_studies import run_tune
from tests.oversight.runs.refusals import Capture, refused


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("tny", "unknown study 'tny' mean tiny"),
        ("tiny --methods oracle", "no method 'oracle' choose routed, naive"),
        ("tiny --seeds 0", "'--seeds'"),
        ("tiny --workers 0", "workers 0 1 or more"),
        ("tiny --address x", "--address --engine ray"),
        ("tiny --save nowhere/x.json", "nowhere/x.json nowhere not a folder"),
        ("tiny --save .", "--save . cannot be written: it is a folder; name another file"),
        (
            "tiny --folder FILE/x",
            "FILE/x cannot be written (Not a directory): name another --folder",
        ),
    ],
)
def test_tune_refuses_invalid_arguments(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").touch()
    line = refused(capsys, run_tune, *flags.split())
    for word in words.split():
        assert word in line
    assert [path.name for path in tmp_path.iterdir()] == ["FILE"]
