"""Tests of a study: a run by the command, errors before it, and resuming to the same bits."""

import json
from pathlib import Path
from typing import Any

import pytest

from lm import steer
from lm.steering import study
from oversight.runs import cli
from oversight.runs.folder import read_json

TINY = (
    *("--config", "quick", "--workers", "1", "--train-rows", "400", "--held-out-rows", "4"),
    *("--choice-rows", "2", "--loop.steps", "4", "--loop.warmup", "1", "--batch-size", "2"),
    *("--steering.coefficients", "0.5", "2", "8", "--steering.pairs", "8"),
    *("--steering.samples", "2", "--steering.sample-length", "6", "--vocab-size", "700"),
)


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def execute(work: Any, jobs: Any, **_: object) -> Any:  # noqa: ANN401
        return map(work, jobs)

    monkeypatch.setattr(study, "execute", execute)


def start(*args: object) -> int:
    return cli.run(steer.main, [*map(str, args)])


def measured(folder: Path) -> list[dict[str, Any]]:
    """Return all results without their durations."""
    runs = json.loads((folder / "summary.json").read_text())["runs"]
    return [{name: value for name, value in each.items() if name != "seconds"} for each in runs]


def test_study_reports_resumes_and_gives_the_same_bits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert start(*TINY, "--run-dir", whole) == 0
    printed = capsys.readouterr().out
    for words in ("scalar (routed)", "caa (unrouted)", "percentile", "At +0.1 nats", "figures"):
        assert words.lower() in printed.lower() or "cannot be compared" in printed
    assert (whole / "figures" / "head-to-head.png").exists()
    assert [*(whole / "runs" / "routed-seed0").glob("events.out.tfevents.*")]
    results = measured(whole)
    assert [each["kind"] for each in results] == ["routed", "unrouted"]

    stages = ("result.json", "next-token.json")  # as if it was killed before these
    assert start(*TINY, "--run-dir", stopped) == 0
    for name in stages:
        (stopped / "runs" / "routed-seed0" / name).unlink()
    (stopped / "runs" / "unrouted-seed0" / "trained.safetensors").unlink()
    for record in (stopped / "runs" / "unrouted-seed0").glob("*.json"):
        if record.name not in ("stages.json", "training.json"):
            record.unlink()
    assert start("--resume", stopped) == 0
    assert measured(stopped) == results


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--concept-words", "volcano"), "'volcano': no token of the vocabulary"),
        (("--concept-words", "forest", "forest"), "each once"),
        (("--related-words", "volcano"), "'volcano': no token"),
        (("--texts", "missing.txt"), "missing.txt"),
        (("--steering.blocks", "9"), "from 0 to 3"),
        (("--route.dimension", "999"), "from 0 to 127"),
        (("--train-rows", "1"), "forest never occurs in the 1 rows"),
        (("--config", "nano"), "unknown preset"),
    ],
)
def test_error_is_one_line_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], args: tuple[str, ...], words: str
) -> None:
    given = args if "--config" in args else (*TINY, *args)
    assert start(*given, "--run-dir", tmp_path / "run") == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_resumed_study_keeps_its_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(*TINY, "--run-dir", tmp_path / "run") == 0
    assert start("--resume", tmp_path / "run", "--loop.steps", "9") == 2
    assert "loop.steps 4, 9 was given" in capsys.readouterr().err
    summary = read_json(tmp_path / "run" / "summary.json")
    assert summary["failed"] == {}
