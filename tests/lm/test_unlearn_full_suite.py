"""Tests of the full suite of attacks on a finished study, from the command line, with tiny runs."""

import json
from pathlib import Path

import pytest

from lm.attacks.suite import SUITES
from lm.models.shapes import SIZES, GPTConfig
from lm.results import Results
from lm.robustness import robustness
from lm.unlearn import main
from oversight.runs import cli
from tests.oversight.runs.refusals import Capture

SMOKE = ("--config", "smoke", "--workers", "1", "--method", "gold", "unrouted", "filtered")


@pytest.mark.slow
def test_resumed_study_adds_the_attacks_of_the_full_suite(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SIZES, "nano", GPTConfig(width=8, num_layers=2, num_heads=2))
    folder = tmp_path / "a"
    assert cli.run(main, [*SMOKE, "--run-dir", str(folder)]) == 0
    assert "attacks: forget" not in capsys.readouterr().out
    assert cli.run(main, ["--resume", str(folder), "--attack", "full"]) == 0
    printed = capsys.readouterr().out
    assert "attacks: forget forest" in printed
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["study"]["run"]["suite"] == "full"
    rows = [row for result in summary["results"] for row in result["grid"]]
    assert {row["attack"] for row in rows} == set(SUITES["full"])
    verdicts = robustness(Results(summary["results"]))
    assert {each.method for each in verdicts} == {"unrouted", "filtered"}
    assert not any(each.robust for each in verdicts if each.method == "unrouted")
    run = folder / "runs" / "filtered-seed0"
    for name in ("attack-gcg.json", "result.json"):
        (run / name).unlink()
    assert cli.run(main, ["--resume", str(folder)]) == 0
    assert "1/1 filtered-seed0: done" in capsys.readouterr().err
    again = json.loads((folder / "summary.json").read_text())
    assert [each["grid"] for each in again["results"]] == [
        each["grid"] for each in summary["results"]
    ]
