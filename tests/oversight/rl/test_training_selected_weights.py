"""The weights that each rule selects have a file each, and are evaluated by the rule's name."""

import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

from agents import RoutedPPO
from agents.checkpoint import read_model_weights, read_state
from oversight.rl.config import HELD_OUT, TrainConfig
from oversight.rl.evaluation import evaluate, load
from oversight.rl.result_files import RULES, Rule
from oversight.runs.folder import RunFolder, read_config
from tests.oversight.rl.tensorboard_events import curves
from tests.oversight.rl.test_training_damage import TouchOnUnpickle
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
def selected_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run in which the three rules chose three checkpoints; to be read only."""
    folder = tmp_path_factory.mktemp("selected_run") / "run"
    assert run(*FLAGS, "--run-dir", folder) == 0
    assert len({summary(folder)["selection"][rule]["step"] for rule in RULES}) == 3
    return folder


@pytest.fixture
def copied_run(selected_run: Path, tmp_path: Path) -> Path:
    """A copy of that run, to be changed."""
    return shutil.copytree(selected_run, tmp_path / "copied_run")


def selected_checkpoints(folder: Path) -> dict[str, Any]:
    """Return the checkpoints that the rules selected, read from the training state."""
    chosen = read_state(RunFolder(folder).checkpoint)["selection"]
    return {"observed": chosen["observed"]["best"], "oracle_selection": chosen["oracle_selection"]}


def table_rows(capsys: Capture, *args: object) -> list[str]:
    """Return the rows of an evaluation's table."""
    capsys.readouterr()
    assert run_evaluate(*args, *QUICK) == 0
    return [line for line in capsys.readouterr().out.splitlines() if line.count("%") == 3]


@pytest.mark.parametrize("rule", CHOSEN)
def test_each_file_holds_the_weights_that_its_rule_selected(selected_run: Path, rule: Rule) -> None:
    weights = read_model_weights(RunFolder(selected_run).model_of(rule))
    assert difference(dict(weights), selected_checkpoints(selected_run)[rule]["weights"]) is None
    last = read_model_weights(RunFolder(selected_run).model)
    assert difference(dict(weights), dict(last)) is not None


def test_last_weights_equal_those_of_the_training_state(selected_run: Path) -> None:
    last = read_model_weights(RunFolder(selected_run).model_of("last"))
    state = read_state(RunFolder(selected_run).checkpoint)["agent"]["policy"]
    assert difference(dict(last), dict(state)) is None


@pytest.mark.parametrize("rule", RULES)
def test_selected_weights_reproduce_the_scores_of_the_summary(
    selected_run: Path, rule: Rule
) -> None:
    config = read_config(RunFolder(selected_run), TrainConfig)
    deployed = load(RunFolder(selected_run), config, rule)["deployed"]
    scores = evaluate(deployed, config, config.final_episodes, config.seed, HELD_OUT)
    expected = summary(selected_run)["selection"][rule]
    assert scores == {name: expected[name] for name in scores}


@pytest.mark.parametrize("rule", CHOSEN)
def test_selected_weights_load_in_sb3(selected_run: Path, rule: Rule) -> None:
    agent = RoutedPPO.load(RunFolder(selected_run).model_of(rule), device="cpu")
    assert (
        difference(
            dict(agent.policy.state_dict()), selected_checkpoints(selected_run)[rule]["weights"]
        )
        is None
    )
    assert agent.deployed().module_names == ("goal",)


def test_evaluate_plays_the_weights_of_the_given_rule(capsys: Capture, selected_run: Path) -> None:
    before = contents(selected_run)
    tables = {rule: table_rows(capsys, selected_run, "--weights", rule) for rule in RULES}
    assert all(len(table) == 4 for table in tables.values())
    assert len({tuple(table) for table in tables.values()}) == 3
    assert table_rows(capsys, selected_run) == tables["last"]
    assert contents(selected_run) == before


def test_evaluation_table_names_the_rule(capsys: Capture, selected_run: Path) -> None:
    assert run_evaluate(selected_run, "--weights", "oracle_selection", *QUICK) == 0
    assert "weights oracle_selection" in " ".join(capsys.readouterr().out.split())


def test_run_without_selected_weights_has_its_last_weights(
    capsys: Capture, copied_run: Path
) -> None:
    expected = table_rows(capsys, copied_run)
    for rule in CHOSEN:
        RunFolder(copied_run).model_of(rule).unlink()
    assert (
        table_rows(capsys, copied_run)
        == table_rows(capsys, copied_run, "--weights", "last")
        == expected
    )
    for rule in CHOSEN:
        line = refused(capsys, run_evaluate, copied_run, "--weights", rule)
        assert f"{copied_run} has no weights '{rule}'" in line
        assert line.endswith("choose from last\n")


@pytest.mark.parametrize("rule", CHOSEN)
def test_damaged_or_incompatible_weights_are_refused(
    capsys: Capture, copied_run: Path, rule: Rule
) -> None:
    path, mark = RunFolder(copied_run).model_of(rule), copied_run.parent / "executed"
    half = path.read_bytes()[: path.stat().st_size // 2]
    for content in (half, b"", pickle.dumps(TouchOnUnpickle(mark))):
        path.write_bytes(content)
        line = refused(capsys, run_evaluate, copied_run, "--weights", rule)
        assert f"model-{rule}.zip is not a whole model" in line
    assert not mark.exists()
    assert run_evaluate(copied_run, *QUICK) == 0  # the others are as they were


def test_saving_selected_weights_changes_no_curve_and_no_result(
    selected_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "unsaved"
    monkeypatch.setattr("oversight.rl.training.save_models", lambda *_: None)
    assert run(*FLAGS, "--run-dir", folder) == 0
    assert not list(folder.glob("*.zip"))
    states = [read_state(RunFolder(path).checkpoint)["agent"] for path in (folder, selected_run)]
    assert difference(*states) is None
    assert curves(folder) == curves(selected_run)
    for name in ("eval", "selection"):
        assert summary(folder)[name] == summary(selected_run)[name]
