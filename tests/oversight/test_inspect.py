"""`python -m oversight.inspect`: its page, and the one line for what cannot be inspected."""

import shutil
from pathlib import Path

import pytest

from oversight import inspect
from oversight.runs import cli
from oversight.runs.folder import RunFolder, read_json, write_json
from tests.oversight.rl.tensorboard_events import curves
from tests.oversight.rl.trained_runs import TINY, rollouts, run_train
from tests.oversight.runs.refusals import Capture, refused


def run_inspect(*args: object) -> int:
    return cli.run(inspect.main, [str(arg) for arg in args])


def test_page_and_numbers_are_written_and_tables_printed(copied: Path, capsys: Capture) -> None:
    assert run_inspect(copied, "--episodes", "16") == 0
    printed = capsys.readouterr().out
    assert "without goal" in printed
    assert "Gradients" in printed
    folder = copied / "inspect"
    assert {"index.html", "map.png", "inspection.json"} <= {each.name for each in folder.iterdir()}
    assert read_json(folder / "inspection.json")["kind"] == "rl"


def test_a_folder_without_a_run_is_refused(tmp_path: Path, capsys: Capture) -> None:
    assert "is no run of oversight.train" in refused(capsys, run_inspect, tmp_path)
    write_json(RunFolder(tmp_path).config, {"something": "else"})
    assert "is no run of oversight.train" in refused(capsys, run_inspect, tmp_path)
    assert "is no folder" in refused(capsys, run_inspect, tmp_path / "nowhere")


def test_a_run_without_weights_is_refused(copied: Path, capsys: Capture) -> None:
    RunFolder(copied).model.unlink()
    assert "is not a whole model" in refused(capsys, run_inspect, copied)


def test_a_missing_extra_is_one_line(
    copied: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect, "find_spec", lambda name: None)
    assert "pip install 'oversight-testbed[report]'" in refused(capsys, run_inspect, copied)


def test_a_run_without_its_checkpoint_is_inspected(copied: Path, capsys: Capture) -> None:
    RunFolder(copied).checkpoint.unlink()
    shutil.rmtree(copied / "tensorboard")
    assert run_inspect(copied, "--episodes", "8") == 0
    assert "as the checkpoint left it" not in capsys.readouterr().out


def test_an_audit_is_logged_every_so_many_updates(tmp_path: Path) -> None:
    flags = ("--audit", "--audit-every", "2", "--run-dir", tmp_path / "run")
    assert run_train(*TINY, *rollouts(4), *flags) == 0
    logged = curves(tmp_path / "run")
    points = logged["audit/hidden/proxy"]
    assert [step for step, _ in points] == [256, 768]
    assert all(value == 0 for _, value in logged["audit/hidden/goal"])
