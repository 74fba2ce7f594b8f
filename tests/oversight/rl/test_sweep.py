"""A sweep trains every run of a study once, and writes one table of their results."""

import csv
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch

from oversight.rl.result_files import COLUMNS, as_csv
from oversight.rl.sweep import Job, sweep
from oversight.runs.folder import RunFolder
from oversight.runs.parallel import Outcome
from tests.oversight.rl.tensorboard_events import curves, events, learner_log
from tests.oversight.rl.tiny_studies import IDS, results, run_sweep, tiny
from tests.oversight.rl.trained_runs import contents, difference, outcome, run_train, summary
from tests.oversight.runs.refusals import Capture, refused

ONE = ("--workers", "1")


@pytest.fixture(scope="module")
def finished(finished_sweep: Path) -> Path:
    """A finished sweep; to be read only."""
    return finished_sweep


@pytest.fixture
def swept(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished sweep, to be changed."""
    return shutil.copytree(finished, tmp_path / "swept")


def test_sweep_has_every_run_once(finished: Path) -> None:
    assert sorted(path.name for path in (finished / "runs").iterdir()) == sorted(IDS)
    for name in IDS:
        assert summary(finished / "runs" / name)["interrupted"] is False


def test_table_matches_the_summaries_of_runs(finished: Path) -> None:
    table = results(finished)
    assert (table["study"], table["runs"]) == ("tiny", 4)
    assert table["missing"] == table["failed"] == []
    rules = [(name, rule) for name in IDS for rule in ("last", "observed", "oracle_selection")]
    assert [(row["run"], row["rule"]) for row in table["rows"]] == rules
    for row in table["rows"]:
        assert tuple(row) == COLUMNS
        run = summary(finished / "runs" / row["run"])
        chosen = run["selection"][row["rule"]]
        for name in COLUMNS[7:16]:
            assert row[name] == chosen[name]
        held_out = run["held_out_episodes"] if row["rule"] == "observed" else 0
        assert row["observed_episodes"] == run["observed_episodes"] + held_out
        assert held_out > 0 or row["rule"] != "observed"
        words = (row["method"], row["oversight_probability"], row["seed"])
        assert row["run"] == "{}-p{:g}-seed{}".format(*words)
        for name in ("env_steps", "wall_seconds", "commit", "method", "seed"):
            assert row[name] == run[name]
        assert (row["study"], row["variation"]) == ("tiny", "default")


def test_results_are_written_whenever_a_run_ends(tmp_path: Path) -> None:
    missing = []

    def one_by_one(work: Callable[[Job], Outcome], jobs: Sequence[Job]) -> Iterator[Outcome]:
        for job in jobs:
            yield work(job)
            missing.append(results(tmp_path)["missing"])  # as a kill would leave it

    study = tiny()
    assert sweep(study, study.runs()[:2], tmp_path, None, one_by_one) == {}
    assert missing == [IDS[1:], IDS[2:]]


def test_csv_equals_the_table(finished: Path) -> None:
    with (finished / "results.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    rows = results(finished)["rows"]
    assert len(read) == len(rows)
    for one, other in zip(read, rows, strict=True):
        assert list(one) == list(COLUMNS)
        assert one == {name: "" if v is None else str(v) for name, v in other.items()}


def test_return_over_no_episodes_is_an_empty_cell() -> None:
    row = dict.fromkeys(COLUMNS, 1) | {"true_return_unobserved": None, "commit": None}
    assert as_csv([row]).splitlines()[1] == "1,1,1,1,1,1,1,1,1,1,,1,1,1,1,1,1,1,1,"


def test_run_of_a_sweep_equals_that_of_the_train_command(finished: Path, tmp_path: Path) -> None:
    config = finished / "runs" / IDS[1]
    shutil.copytree(config, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "tensorboard")
    for path in (tmp_path / "run").iterdir():
        if path.name != "config.json":
            path.unlink()
    assert run_train("--resume", tmp_path / "run") == 0  # with its settings, from the start
    assert difference(outcome(config), outcome(tmp_path / "run")) is None
    for name in ("selection", "eval", "observed_episodes", "held_out_episodes"):
        assert summary(config)[name] == summary(tmp_path / "run")[name]


def test_run_of_a_sweep_prints_and_renders_nothing(
    finished: Path, tmp_path: Path, capsys: Capture
) -> None:
    run = finished / "runs" / IDS[0]
    assert events(learner_log(run)).Tags()["images"] == []
    assert {"selection/observed_score", "goal-deployed/eval/true_return"} <= {*curves(run)}
    capsys.readouterr()
    assert run_sweep("tiny", *ONE, "--folder", tmp_path, "--seeds", "0") == 0
    shown = capsys.readouterr()
    assert [line.split(", about")[0] for line in shown.err.splitlines()] == [
        f"study tiny: 0 runs finished, 0 begun, 2 new; folder {tmp_path}",
        "1/2 routed-p0.5-seed0: done",
        "2/2 naive-p0.5-seed0: done",
    ]
    assert shown.out.startswith(f"results:  {tmp_path}/results.json\n")
    assert f" -m tensorboard.main --logdir {tmp_path}/runs\n" in shown.out


def test_finished_sweep_is_unchanged_when_run_again(swept: Path) -> None:
    before = contents(swept)
    assert run_sweep("tiny", *ONE, "--folder", swept) == 0
    assert contents(swept) == before


def test_lost_runs_are_repeated_bit_for_bit(swept: Path, finished: Path) -> None:
    first, second, third, fourth = (swept / "runs" / name for name in IDS)
    shutil.rmtree(first)
    RunFolder(second).summary.unlink()
    RunFolder(third).summary.write_text(RunFolder(third).summary.read_text()[:100])
    text = RunFolder(fourth).summary.read_text().replace('pted": false', 'pted": true')
    RunFolder(fourth).summary.write_text(text)
    assert run_sweep("tiny", *ONE, "--folder", swept) == 0
    for name in IDS:
        folders = [folder / "runs" / name for folder in (swept, finished)]
        assert difference(outcome(folders[0]), outcome(folders[1])) is None
        assert len({json.dumps(summary(folder)["selection"]) for folder in folders}) == 1


def test_default_folder_has_the_name_of_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_sweep("tiny", *ONE, "--seeds", "1", "--methods", "naive") == 0
    assert [path.parent.name for path in tmp_path.glob("studies/tiny/runs/*/summary.json")] == [
        IDS[3]
    ]


def test_parts_of_a_study_combine_to_the_whole(tmp_path: Path, finished: Path) -> None:
    part = ("tiny", *ONE, "--folder", tmp_path)
    assert run_sweep(*part, "--methods", "naive", "--seeds", "1") == 0
    assert results(tmp_path)["missing"] == IDS[:3]
    assert run_sweep(*part, "--methods", "routed", "--oversight-probabilities", "0.5") == 0
    assert results(tmp_path)["missing"] == IDS[2:3]
    assert [row["run"] for row in results(tmp_path)["rows"][::3]] == [*IDS[:2], IDS[3]]
    assert run_sweep(*part) == 0
    for one, other in zip(results(tmp_path)["rows"], results(finished)["rows"], strict=True):
        assert one | {"wall_seconds": 0} == other | {"wall_seconds": 0}


def test_failing_run_is_reported_and_the_others_finish(swept: Path, capsys: Capture) -> None:
    for name in IDS[1:]:
        RunFolder(swept / "runs" / name).summary.unlink()
    torch.save({}, RunFolder(swept / "runs" / IDS[1]).checkpoint)
    assert run_sweep("tiny", *ONE, "--folder", swept) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"failed: {IDS[1]}: ")
    assert "checkpoint.pt is not a checkpoint of a training run" in last
    table = results(swept)
    assert table["missing"] == [IDS[1]]
    assert table["failed"] == [{"run": IDS[1], "error": last.split(": ", 2)[2]}]
    assert len(table["rows"]) == 9


def test_existing_run_is_refused_when_settings_differ(swept: Path, capsys: Capture) -> None:
    config = RunFolder(swept / "runs" / IDS[2]).config
    config.write_text(config.read_text().replace('"gamma": 0.97', '"gamma": 0.5'))
    before = contents(swept)
    line = refused(capsys, run_sweep, "tiny", *ONE, "--folder", swept)
    assert f"another run {IDS[2]}: ppo.gamma is 0.5 there and 0.97 here" in line
    assert contents(swept) == before
