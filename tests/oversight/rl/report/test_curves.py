"""Learning curves: event files, their table, and the mean over runs."""

from pathlib import Path

import pytest

from oversight.rl.report.curves import band, read_curves, read_event_files, write_curves
from tests.oversight.rl.report.study_folders import rows_of, write_runs

TAG = "eval/true_return"


def test_complete_events_are_read_when_the_file_is_truncated(tmp_path: Path) -> None:
    rows = rows_of({"naive": (0.5,)}, levels=[0.1], seeds=[0])
    write_runs(tmp_path, rows)
    run = tmp_path / "runs" / rows[0]["run"]
    (path,) = run.rglob("events*")
    problems: list[str] = []
    whole = read_event_files(run, TAG, problems)
    assert problems == []
    assert list(whole) == [250_000 * point for point in range(7)]
    path.write_bytes(path.read_bytes()[:-100])
    cut = read_event_files(run, TAG, problems)
    assert 0 < len(cut) < len(whole)
    assert all(whole[step] == value for step, value in cut.items())
    assert rows[0]["run"] in problems[0]
    assert "cut short" in problems[0]


def test_run_without_events_is_a_problem(tmp_path: Path) -> None:
    problems: list[str] = []
    assert read_event_files(tmp_path, TAG, problems) == {}
    assert problems == [
        f"{tmp_path.name}: there are no events of its deployed policy, and no curve"
    ]


def test_curves_round_trip_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    write_curves(path, {"a": {20: 1 / 3, 5: -0.0}, "b": {5: float("nan"), 7: 1e-12}})
    read = read_curves(path)
    assert read["a"] == {5: -0.0, 20: pytest.approx(1 / 3, rel=1e-7)}
    assert read["b"] == {7: pytest.approx(1e-12)}
    write_curves(path, read)
    assert read_curves(path) == read
    assert path.read_text().splitlines()[0] == "run,5,7,20"


def test_empty_curves_round_trip(tmp_path: Path) -> None:
    write_curves(tmp_path / "curves.csv", {})
    assert read_curves(tmp_path / "curves.csv") == {}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("run,1\nnaive-p0.1-seed0\n", r"line 2 \(naive-p0.1-seed0\) has not as many"),
        ("run,1\nnaive,0.5\nnaive-p0.1-seed0,0.5,0.5\n", "line 3"),
        ("", "its first line does not begin with run"),
        ("run,x\nnaive,0.5\n", "is damaged"),
        ("run,1\nnaive,high\n", "is damaged"),
        (None, "curves.csv is damaged"),
    ],
)
def test_damaged_curves_are_refused(tmp_path: Path, text: str | None, error: str) -> None:
    path = tmp_path / "curves.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=error):
        read_curves(path)


def test_band_is_the_mean_over_runs_that_have_the_step() -> None:
    found = band([{0: 0.0, 10: 0.2}, {0: 0.0, 10: 0.4}, {0: 0.3}, {}])
    assert found is not None
    assert found.steps.tolist() == [0, 10]
    assert found.mean.tolist() == pytest.approx([0.1, 0.3])
    assert (found.low[1], found.high[1], found.runs) == (pytest.approx(0.2), pytest.approx(0.4), 3)


@pytest.mark.parametrize("curves", [[], [{}, {5: float("nan")}]])
def test_band_is_none_without_points(curves: list[dict[int, float]]) -> None:
    assert band(curves) is None
