"""Tests of a sweep over the tax from the command line, with tiny runs."""

import json
from pathlib import Path
from typing import Any

import pytest

from lm.finished import read_run
from lm.unlearn import main
from oversight.runs import cli

pytestmark = pytest.mark.slow

TINY = (
    *("--config", "smoke", "--workers", "1", "--attack", "none", "--method", "modules"),
    *("--forget-topics", "forest", "sea", "--label-recall", "1"),
)


def only(folder: Path, name: str) -> dict[str, Any]:
    """Return the result of a run without durations."""
    result: dict[str, Any] = json.loads((folder / "runs" / name / "result.json").read_text())
    times = ("seconds", "wall_seconds", "tokens_per_second")
    return {name: value for name, value in result.items() if name not in times}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a sweep with one expansion."""
    folder = tmp_path_factory.mktemp("tax") / "swept"
    sweep = ("--sweep", "tax", "--expansions", "4", "--run-dir", str(folder))
    assert cli.run(main, [*TINY, *sweep]) == 0
    return folder


def test_sweep_without_attacks_writes_pages_cards_and_a_figure(swept: Path) -> None:
    run = swept / "runs" / "modules-expansion4-seed0"
    assert "curves" not in only(swept, run.name)
    assert not list(swept.glob("runs/*/attack-*.json"))
    assert list(run.glob("events.out.tfevents.*"))
    assert "No attack was run on this model." in (run / "MODEL_CARD.md").read_text()
    assert (swept / "figures" / "tax.png").exists()


@pytest.fixture(scope="module")
def extended(swept: Path) -> Path:
    """Return the folder of the sweep, resumed with more values after an interruption."""
    run = swept / "runs" / "modules-expansion4-seed0"
    (run / "result.json").unlink()
    written = (run / "trained.safetensors").stat().st_mtime_ns
    more = ("--expansions", "4", "8", "--topic-counts", "1", "2", "--method", "modules", "rmu")
    assert cli.run(main, ["--resume", str(swept), *more]) == 0
    assert (run / "trained.safetensors").stat().st_mtime_ns == written
    return swept


def test_interrupted_sweep_is_resumed_with_more_values(extended: Path) -> None:
    summary = json.loads((extended / "summary.json").read_text())
    assert (summary["missing"], summary["failed"]) == ([], {})
    assert len(summary["results"]) == 2 * 2 + 2 * 2 + 2  # references, modules and rmu
    card = (extended / "runs" / "modules-expansion8-topics1-seed0" / "MODEL_CARD.md").read_text()
    assert ": a model trained to forget forest\n" in card


def test_finished_run_of_a_sweep_is_read_with_its_own_settings(extended: Path) -> None:
    run = read_run(extended / "runs" / "modules-expansion8-topics1-seed0")
    assert (run.config.expansion, run.config.topics) == (8, ("forest",))
    assert run.config.labels.recall == 1.0


def test_method_after_training_begins_with_the_model_of_as_many_topics(extended: Path) -> None:
    notes = [
        (extended / "runs" / f"{name}-seed0" / "training.json").read_bytes()
        for name in ("rmu-topics1", "unrouted-topics1", "rmu", "unrouted")
    ]
    assert notes[0] == notes[1] != notes[2] == notes[3]


def test_run_of_a_sweep_equals_that_of_a_plain_study_and_attacks_can_follow(
    extended: Path, tmp_path: Path
) -> None:
    of_sweep = only(extended, "modules-expansion8-seed0")
    assert cli.run(main, [*TINY, "--expansion", "8", "--run-dir", str(tmp_path)]) == 0
    assert only(tmp_path, "modules-seed0") == of_sweep
    assert cli.run(main, ["--resume", str(tmp_path), "--attack", "relearning"]) == 0
    attacked = only(tmp_path, "modules-seed0")
    assert {each["attack"] for each in attacked.pop("curves")} == {"same", "half", "benign"}
    assert attacked == of_sweep
