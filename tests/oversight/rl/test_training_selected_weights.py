"""The weights that each rule chose lie in a file each, and are evaluated by the rule's name."""

import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

from agents import RoutedPPO
from agents.checkpoint import read_model_weights, read_state
from oversight.evaluate import load
from oversight.rl.config import HELD_OUT, TrainConfig
from oversight.rl.evaluation import evaluate
from oversight.rl.result_files import RULES, Rule
from oversight.runs.folder import RunFolder, read_config
from tests.oversight.rl.tensorboard_events import curves
from tests.oversight.rl.test_training_damage import Trap
from tests.oversight.rl.trained_runs import (
    TINY,
    contents,
    difference,
    rollouts,
    run_evaluate,
    summary,
)
from tests.oversight.rl.trained_runs import run_train as run
from tests.oversight.runs.refusals import Capture, refused

FLAGS = (
    *(*TINY, *rollouts(12), "--eval-every", "1", "--ppo.learning-rate", "0.01", "--seed", "1"),
    *("--held-out", "0.9", "--oversight-probability", "0.5", "--grid.horizon", "32"),
)
QUICK = ("--episodes", "16", "--threads", "1")
CHOSEN: tuple[Rule, ...] = ("observed", "oracle_selection")


@pytest.fixture(scope="module")
def selected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run in which the three rules chose three checkpoints; to be read only."""
    folder = tmp_path_factory.mktemp("selected") / "run"
    assert run(*FLAGS, "--run-dir", folder) == 0
    assert len({summary(folder)["selection"][rule]["step"] for rule in RULES}) == 3
    return folder


@pytest.fixture
def changeable(selected: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return shutil.copytree(selected, tmp_path / "changeable")


def kept(folder: Path) -> dict[str, Any]:
    """Return what the rules kept, as the checkpoint has it."""
    chosen = read_state(RunFolder(folder).checkpoint)["selection"]
    return {"observed": chosen["observed"]["best"], "oracle_selection": chosen["oracle_selection"]}


def rows(capsys: Capture, *args: object) -> list[str]:
    """Return the rows of an evaluation's table."""
    capsys.readouterr()
    assert run_evaluate(*args, *QUICK) == 0
    return [line for line in capsys.readouterr().out.splitlines() if line.count("%") == 3]


@pytest.mark.parametrize("rule", CHOSEN)
def test_each_file_has_what_its_rule_kept(selected: Path, rule: Rule) -> None:
    weights = read_model_weights(RunFolder(selected).model_of(rule))
    assert difference(dict(weights), kept(selected)[rule]["weights"]) is None
    last = read_model_weights(RunFolder(selected).model)
    assert difference(dict(weights), dict(last)) is not None


def test_the_last_weights_are_those_that_training_goes_on_from(selected: Path) -> None:
    last = read_model_weights(RunFolder(selected).model_of("last"))
    state = read_state(RunFolder(selected).checkpoint)["agent"]["policy"]
    assert difference(dict(last), dict(state)) is None


@pytest.mark.parametrize("rule", RULES)
def test_chosen_weights_score_what_the_summary_says(selected: Path, rule: Rule) -> None:
    config = read_config(RunFolder(selected), TrainConfig)
    deployed = load(RunFolder(selected), config, rule)["deployed"]
    scores = evaluate(deployed, config, config.final_episodes, config.seed, HELD_OUT)
    said = summary(selected)["selection"][rule]
    assert scores == {name: said[name] for name in scores}


@pytest.mark.parametrize("rule", CHOSEN)
def test_chosen_weights_load_in_sb3(selected: Path, rule: Rule) -> None:
    agent = RoutedPPO.load(RunFolder(selected).model_of(rule), device="cpu")
    assert difference(dict(agent.policy.state_dict()), kept(selected)[rule]["weights"]) is None
    assert agent.deployed().module_names == ("goal",)


def test_the_command_plays_the_weights_of_a_rule(capsys: Capture, selected: Path) -> None:
    before = contents(selected)
    tables = {rule: rows(capsys, selected, "--weights", rule) for rule in RULES}
    assert all(len(table) == 4 for table in tables.values())
    assert len({tuple(table) for table in tables.values()}) == 3
    assert rows(capsys, selected) == tables["last"]
    assert contents(selected) == before


def test_the_table_names_the_rule(capsys: Capture, selected: Path) -> None:
    assert run_evaluate(selected, "--weights", "oracle_selection", *QUICK) == 0
    assert "weights oracle_selection" in " ".join(capsys.readouterr().out.split())


def test_a_folder_of_an_older_version_has_its_last_weights(
    capsys: Capture, changeable: Path
) -> None:
    expected = rows(capsys, changeable)
    for rule in CHOSEN:
        RunFolder(changeable).model_of(rule).unlink()
    assert rows(capsys, changeable) == rows(capsys, changeable, "--weights", "last") == expected
    for rule in CHOSEN:
        line = refused(capsys, run_evaluate, changeable, "--weights", rule)
        assert f"{changeable} has no weights '{rule}'" in line
        assert line.endswith("choose from last\n")


@pytest.mark.parametrize("rule", CHOSEN)
def test_damaged_and_foreign_weights_are_refused(
    capsys: Capture, changeable: Path, rule: Rule
) -> None:
    path, mark = RunFolder(changeable).model_of(rule), changeable.parent / "executed"
    half = path.read_bytes()[: path.stat().st_size // 2]
    for content in (half, b"", pickle.dumps(Trap(mark))):
        path.write_bytes(content)
        line = refused(capsys, run_evaluate, changeable, "--weights", rule)
        assert f"model-{rule}.zip is not a whole model" in line
    assert not mark.exists()
    assert run_evaluate(changeable, *QUICK) == 0  # the others are as they were


def test_saving_what_was_chosen_changes_no_curve_and_no_result(
    selected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "unsaved"
    monkeypatch.setattr("oversight.rl.training.save_models", lambda *_: None)
    assert run(*FLAGS, "--run-dir", folder) == 0
    assert not list(folder.glob("*.zip"))
    states = [read_state(RunFolder(path).checkpoint)["agent"] for path in (folder, selected)]
    assert difference(*states) is None
    assert curves(folder) == curves(selected)
    for name in ("eval", "selection"):
        assert summary(folder)[name] == summary(selected)[name]
