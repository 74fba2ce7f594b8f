"""Exported files: the same report without the runs, whatever is missing or damaged."""

import json
import shutil
from pathlib import Path

import pytest

from oversight import report
from oversight.rl.report.curves import Traces, band, curves_csv, export, from_csv, read_traces
from oversight.rl.report.results import read_study
from oversight.runs import cli
from tests.oversight.reporting.studies import RETURNS, rows_of, write_runs, write_study
from tests.oversight.rl.trained_runs import contents

SMALL = {name: RETURNS[name] for name in ("routed", "naive", "oracle")}


def run(*args: object) -> int:
    return cli.run(report.main, [str(arg) for arg in args])


def traces(folder: Path) -> Traces:
    return read_traces(read_study(folder))


def export_alone(folder: Path, to: Path) -> None:
    """Export as the command does, without the report that it makes as well."""
    study = read_study(folder)
    export(study, read_traces(study), to)


def half_finished(path: Path) -> Path:
    """Write a study of two variations with every kind of damage, and two runs not done."""
    rows = rows_of(SMALL, seeds=range(3))
    rows += rows_of({"naive": (0.7, 0.7, 0.7)}, seeds=range(2), variation="hidden_flag")
    rows[1]["flag_flip_gap"], rows[2]["commit"] = 0.1 + 0.2, "def456-dirty"
    kept = [row for row in rows if row["run"] not in ("naive-p0.1-seed1", "naive-p0.1-seed2")]
    missing = ["naive-p0.1-seed1", "naive-p0.1-seed2"]
    write_runs(write_study(path, kept, missing=missing, runs=33), kept)
    runs = path / "runs"
    (events,) = (runs / "naive-p0.1-seed0").glob("events*")
    events.write_bytes(events.read_bytes()[:-9])
    (runs / "oracle-p0.1-seed1" / "config.json").write_text("{")
    (runs / "routed-p0.1-seed0" / "modules.png").write_bytes(b"no picture")
    (runs / "routed-p1-seed0" / "config.json").write_text(
        json.dumps({"versions": {"torch": "9.9", "numpy": "2.4.6"}, "grid": {"flag": "odd"}})
    )
    (runs / "begun-p0.1-seed0").mkdir()
    return path


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A half-finished study that was reported and exported; to be read only."""
    path = half_finished(tmp_path_factory.mktemp("studies") / "made")
    assert run(path, "--export", path.parent / "small") == 0
    return path


@pytest.fixture
def small(study: Path, tmp_path: Path) -> Path:
    """A copy of the exported files, to be changed."""
    return shutil.copytree(study.parent / "small", tmp_path / "small")


def test_the_report_is_the_same_without_the_runs(
    study: Path, small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(small) == 0
    without = capsys.readouterr().err
    assert contents(small / "report") == contents(study / "report")
    assert run(study, "--out", small / "again") == 0
    assert capsys.readouterr().err == without
    for word in ("2 runs are missing: naive-p0.1 (seeds 1-2)", "begun-p0.1-seed0 is not finished"):
        assert word in without
    page = (small / "report" / "index.html").read_text()
    for word in ("31 of 33 runs", "modules.png is damaged", "oracle-p0.1-seed1", "cut short"):
        assert word in page


def test_what_the_runs_left_is_the_same_to_the_bit(study: Path, small: Path) -> None:
    whole, read = traces(study), traces(small)
    assert read.curves == whole.curves
    assert read.pictures == whole.pictures
    assert read.settings == whole.settings
    assert len(whole.curves) == 31
    assert sorted(whole.pictures)[2] == "routed-p0.1-seed1"
    assert len(whole.pictures) == len(list((small / "modules").iterdir())) == 3


def test_every_cell_of_the_results_is_kept(study: Path, small: Path) -> None:
    one, other = (read_study(folder) for folder in (study, small))
    assert repr(one.rows) == repr(other.rows)
    assert other.problems[: len(one.problems)] == one.problems
    assert (one.name, one.declared) == (other.name, other.declared) == ("made", 33)
    assert "paper_return" in (small / "results.csv").read_text().splitlines()[0]


def test_an_export_is_exported_to_the_same_bits(small: Path, tmp_path: Path) -> None:
    export_alone(small, tmp_path / "second")
    files = contents(small)
    assert contents(tmp_path / "second") == {
        name: files[name] for name in files if not name.startswith("report")
    }


def test_what_an_earlier_export_left_is_replaced(study: Path, small: Path) -> None:
    fresh = contents(small)
    (small / "modules" / "gone-p0.1-seed0.png").touch()
    (small / "curves.csv").write_text("run\n")
    export_alone(study, small)
    assert contents(small) == fresh


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("curves.csv", "run,1\nnaive-p0.1-seed0\n", "line 2 (naive-p0.1-seed0) has not as many"),
        ("curves.csv", "", "its first line does not begin with run"),
        ("curves.csv", None, "curves.csv is damaged"),
        ("settings.json", '{"shared": 3, "groups": [{"own": {}, "runs": [1]}]}', "settings of run"),
        ("settings.json", None, "settings.json cannot be read"),
        ("study.json", "{", "study.json is not JSON"),
    ],
)
def test_a_damaged_export_is_told_and_the_rest_is_read(
    small: Path, name: str, content: str | None, told: str
) -> None:
    (small / name).unlink()
    if content is not None:
        (small / name).write_text(content)
    study = read_study(small)
    assert len(study.rows) == 93
    assert any(told in each for each in (*study.problems, *traces(small).problems))


def test_rows_cut_short_are_named_and_none_are_refused(small: Path) -> None:
    lines = (small / "results.csv").read_text().splitlines()
    (small / "results.csv").write_text("\n".join([*lines[:-2], lines[-2][:40]]))
    told = " ".join(read_study(small).problems)
    assert "row 92 (naive-hidden_flag-p1-seed1) was left out" in told
    (small / "results.csv").unlink()
    with pytest.raises(ValueError, match=r"no results to report: .*results.csv cannot be read"):
        read_study(small)


def test_a_study_is_not_exported_over_itself(
    study: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    before = contents(study)
    assert run(study, "--export", study) == 2
    assert "holds a study itself: name another --export" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert run(study, "--export", tmp_path / "file" / "x") == 2
    assert "name another --export" in capsys.readouterr().err
    assert contents(study) == before


def test_curves_keep_their_points() -> None:
    curves = {"a": {20: 1 / 3, 5: -0.0}, "b": {5: float("nan"), 7: 1e-12}}
    read = from_csv(curves_csv(curves))
    assert {step: pytest.approx(value, rel=1e-7) for step, value in read["a"].items()} == curves[
        "a"
    ]
    assert read["b"] == {7: pytest.approx(1e-12)}
    assert from_csv(curves_csv(read)) == read
    assert band(read.values()) is not None
