"""Tuning runs the same trials for every method, scores observed returns, and resumes."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs import rl
from oversight.rl import tuning
from oversight.rl.study import declare
from oversight.rl.sweep import Job, work
from oversight.runs.cli import override
from oversight.runs.parallel import Outcome
from tests.oversight.rl.test_training_hidden_rewards import tamper
from tests.oversight.rl.tiny_studies import DECLARATION, SETTINGS, TINY, TUNING, run_tune
from tests.oversight.rl.trained_runs import contents, summary
from tests.oversight.runs.refusals import Capture, refused

ONE = ("--workers", "1")
RATE = "ppo.learning_rate"


def tuned_settings(folder: Path) -> dict[str, Any]:
    """Return the file that a tuning wrote."""
    read: dict[str, Any] = json.loads((folder / "tuned.json").read_text())
    return read


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tuning; to be read only."""
    folder = tmp_path_factory.mktemp("tuning") / "tiny"
    assert run_tune("tiny", *ONE, "--folder", folder) == 0
    return folder


def test_all_methods_are_tuned_by_the_same_trials(finished: Path) -> None:
    record = tuned_settings(finished)
    assert (record["trials"], record["seeds"], record["oversight_probability"]) == (3, [7, 8], 1.0)
    assert list(record["methods"]) == ["routed", "naive"]
    low, high = TUNING["space"][RATE]
    for method, best in record["methods"].items():
        rates = [trial["changes"][RATE] for trial in best["trials"]]
        assert len({*rates}) == 3
        assert rates[0] == TINY.ppo.learning_rate
        assert all(low <= rate <= high for rate in rates)
        scores = [trial["score"] for trial in best["trials"]]
        assert (best["score"], best["untuned_score"]) == (max(scores), scores[0])
        assert best["changes"][RATE] == rates[scores.index(max(scores))]
        for number, trial in enumerate(best["trials"]):
            runs = [finished / f"runs/{method}-trial{number}-seed{seed}" for seed in (7, 8)]
            selected = [summary(run)["selection"]["observed"]["score"] for run in runs]
            assert trial["score"] == np.mean(selected)
            for run, seed in zip(runs, (7, 8), strict=True):
                stored = json.loads((run / "config.json").read_text())
                assert stored["ppo"]["learning_rate"] == trial["changes"][RATE]
                assert (stored["method"], stored["seed"]) == (method, seed)
    assert len(list((finished / "runs").iterdir())) == 12


class Kill(BaseException):
    """An exception that no code handles, in place of the death of the process."""


def killed_at(number: int) -> Callable[[Job], Outcome]:
    """Return a worker that is killed when it starts the run of that number."""
    done = iter(range(100))

    def work_or_die(job: Job) -> Outcome:
        if next(done) == number:
            raise Kill
        return work(job)

    return work_or_die


SLOW = pytest.mark.slow


@pytest.mark.parametrize("number", [pytest.param(1, marks=SLOW), pytest.param(2, marks=SLOW), 3])
def test_killed_tuning_resumes_to_the_same_settings(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(tuning, "work", killed_at(number))
    flags = ("tiny", *ONE, "--methods", "naive", "--folder", tmp_path)
    with pytest.raises(Kill):
        run_tune(*flags)
    assert len(list(tmp_path.glob("runs/*/summary.json"))) == number
    calls: list[str] = []

    def spy(job: Job) -> Outcome:
        calls.append(job.id)
        return work(job)

    monkeypatch.setattr(tuning, "work", spy)
    assert run_tune(*flags) == 0
    assert (
        tuned_settings(tmp_path)["methods"]["naive"] == tuned_settings(finished)["methods"]["naive"]
    )
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == sorted(
        path.name for path in (finished / "runs").glob("naive-*")
    )
    assert len(calls) <= 6 - number + 1  # the first run of the interrupted trial is repeated


def test_finished_tuning_is_not_changed(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished, tmp_path / "copied")
    before = contents(folder)
    assert run_tune("tiny", *ONE, "--folder", folder) == 0
    assert contents(folder) == before


def declare_study(monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    """Declare a study whose tuning sees half of the episodes, with changed settings."""
    tuning = {**TUNING, "trials": 2, "seeds": (7,), "oversight_probability": 0.5}
    declaration = {**DECLARATION, "settings": {**SETTINGS, **changes}, "tuning": tuning}
    monkeypatch.setitem(rl.STUDIES, "mine", ("", declaration))


def test_tuning_of_other_settings_is_refused(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    folder = shutil.copytree(finished, tmp_path / "copied")
    declare_study(monkeypatch)
    before = contents(folder)
    line = refused(capsys, run_tune, "mine", *ONE, "--folder", folder)
    assert "routed.journal holds the tuning of other settings, seeds or ranges" in line
    assert contents(folder) == before


def test_tuning_does_not_depend_on_hidden_rewards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare_study(monkeypatch, **{"grid.horizon": 32})
    flags = ("mine", *ONE, "--methods", "naive", "--folder")
    assert run_tune(*flags, tmp_path / "clean") == 0
    tamper(monkeypatch, "negated")
    assert run_tune(*flags, tmp_path / "tampered") == 0
    assert tuned_settings(tmp_path / "clean") == tuned_settings(tmp_path / "tampered")
    (path,) = tmp_path.glob("clean/runs/*trial1-seed7/summary.json")
    other = tmp_path / "tampered" / path.relative_to(tmp_path / "clean")
    true_returns = [
        summary(each.parent)["selection"]["last"]["true_return"] for each in (path, other)
    ]
    assert true_returns[0] != true_returns[1]


def test_tuning_fails_when_no_run_has_a_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    declare_study(monkeypatch, held_out=0.0)
    assert run_tune("mine", *ONE, "--folder", tmp_path) == 1
    lines = capsys.readouterr().err.splitlines()[-2:]
    for method, line in zip(("routed", "naive"), lines, strict=True):
        assert line.startswith(f"failed: {method}: {method}-trial0-seed7 has too few observed")
    assert tuned_settings(tmp_path)["methods"] == {}


def test_tuning_names_the_package_when_optuna_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert run_tune("tiny", *ONE, "--folder", tmp_path) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "failed: naive: tuning needs Optuna, which is not installed: pip install optuna"


def test_study_declares_the_settings_that_tuning_found(finished: Path) -> None:
    study = declare("tiny", {**DECLARATION, "tuned": finished / "tuned.json"})
    for run in study.runs():
        rate = tuned_settings(finished)["methods"][run.config.method]["changes"][RATE]
        assert run.config == override(run.config, {RATE: rate})
        assert run.config.ppo.learning_rate == rate
