"""Methods of a user's own: a run of one can be evaluated by a process that does not know it."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agents import METHODS, ROUTES, Method
from agents.methods import BUILT_IN, method
from agents.network import Network
from oversight import certify
from oversight.rl.own_methods import method_file, read_method, recorded_method
from oversight.routing import RouteTable
from oversight.runs import cli
from oversight.runs.folder import RunFolder
from tests.oversight.rl.trained_runs import (
    TINY,
    difference,
    outcome,
    rollouts,
    run_evaluate,
    run_train,
    train_method,
)

MINE = replace(
    METHODS["unmixed"],
    name="mine",
    summary="A method of my own.",
    table=RouteTable({route: {"left": 1.0, "right": 0.5, "shared": 1.0} for route in ROUTES}),
    network=Network(modules=("left", "right"), mixture="fixed"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "run"
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(METHODS, "mine", MINE)
        train_method(folder, "mine")
    return folder


def test_fresh_process_evaluates_a_run_of_a_method_that_it_does_not_have(run: Path) -> None:
    command = [sys.executable, "-m", "oversight.evaluate", str(run), "--episodes", "16"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("deployed", "left", "right", "mixture"):
        assert name in done.stdout


def test_record_serves_only_inside_its_context(run: Path) -> None:
    before = dict(METHODS)
    with recorded_method(RunFolder(run)):
        recorded = method("mine")
        assert (recorded.table, recorded.network) == (MINE.table, MINE.network)
        assert (recorded.reward, recorded.deployed) == (MINE.reward, "left")
    assert before == METHODS
    assert list(METHODS) == list(BUILT_IN)


def test_method_that_the_program_has_added_stays(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own: Method = replace(MINE, summary="Another one.")
    monkeypatch.setitem(METHODS, "mine", own)
    with recorded_method(RunFolder(run)):
        assert method("mine") is own
    assert METHODS["mine"] is own


def test_resuming_says_what_to_do_where_the_method_is_missing(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_train("--resume", run) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "unknown method 'mine'" in error
    assert "add your own to agents.METHODS first" in error


@pytest.mark.parametrize("text", ["{}", "[]", '{"name": "mine", "network": 3, "table": {}}', "x"])
def test_damaged_record_is_refused_in_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (tmp_path / "config.json").write_bytes((run / "config.json").read_bytes())
    method_file(RunFolder(tmp_path)).write_text(text)
    assert run_evaluate(tmp_path) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "method.json" in error


def test_methods_of_this_project_are_not_recorded(tmp_path: Path) -> None:
    folder = train_method(tmp_path / "run", "naive")
    assert not method_file(RunFolder(folder)).exists()
    with pytest.raises(ValueError, match=r"method\.json"):
        read_method(method_file(RunFolder(folder)))


OWN = "tests.oversight.own_method:CAUTIOUS"


def test_method_of_a_module_is_selected_in_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "own"
    assert run_train(*TINY, *rollouts(2), "--method", OWN, "--run-dir", folder) == 0
    assert run_train(*TINY, *rollouts(2), "--method", "uds", "--run-dir", tmp_path / "uds") == 0
    assert difference(outcome(folder)["model"], outcome(tmp_path / "uds")["model"]) is None
    assert run_train("--resume", folder, *rollouts(3)) == 0
    flags = ("--steps", "128", "--num-envs", "8", "--ppo.n-steps", "8", "--ppo.batch-size", "32")
    assert cli.run(certify.main, [*flags, "--ppo.hidden-sizes", "8", "--method", OWN]) == 0
    # evaluation has the record of the method, and imports nothing
    monkeypatch.setitem(sys.modules, "tests.oversight.own_method", None)
    assert run_evaluate(folder, "--episodes", "8") == 0


@pytest.mark.parametrize("command", [run_train, lambda *args: cli.run(certify.main, [*args])])
def test_module_without_such_a_method_is_refused(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--method", "tests.oversight.own_method:MISSING") == 2
    assert "cannot be imported (AttributeError" in capsys.readouterr().err
