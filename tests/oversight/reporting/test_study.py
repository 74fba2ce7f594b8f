"""Studies that are empty, half-finished or damaged: told by name, and the rest still read."""

import json
from pathlib import Path

import pytest

from oversight.rl.report.curves import band, read_curve
from oversight.rl.report.results import Study, read_study
from tests.oversight.reporting.studies import rows_of, write_runs, write_study

ROWS = rows_of(seeds=range(2))
FIRST = ROWS[0]["run"]


def problems(study: Study, *words: str) -> list[str]:
    """Return the problems that have all of the words."""
    return [each for each in study.problems if all(word in each for word in words)]


def test_a_whole_study_has_no_problems(tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path, ROWS))
    assert study.problems == ()
    assert (study.name, study.declared, len(study.rows)) == ("made", len(ROWS) // 3, len(ROWS))


@pytest.mark.parametrize("content", [None, "", "[]", "{", '{"rows": []}', '{"rows": 3}'])
def test_an_empty_study_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "results.json").write_text(content)
    with pytest.raises(ValueError, match="holds no results to report"):
        read_study(tmp_path)


def test_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a folder"):
        read_study(tmp_path / "nowhere")


def test_damaged_results_give_way_to_the_table(tmp_path: Path) -> None:
    whole = read_study(write_study(tmp_path, ROWS)).rows
    (tmp_path / "results.json").write_text('{"rows": [{"run"')
    study = read_study(tmp_path)
    assert repr(study.rows) == repr(whole)  # NaN is not equal to itself
    assert problems(study, "results.json", "is not JSON")
    assert problems(study, "results.csv")


def test_without_results_the_runs_speak(tmp_path: Path) -> None:
    whole = read_study(write_study(tmp_path, ROWS)).rows
    write_runs(tmp_path, ROWS)
    for name in ("results.json", "results.csv"):
        (tmp_path / name).unlink()
    study = read_study(tmp_path)
    assert sorted(map(repr, study.rows)) == sorted(map(repr, whole))
    assert problems(study, "summaries")


def test_half_finished_runs_are_named(tmp_path: Path) -> None:
    kept = [row for row in ROWS if row["run"] != FIRST]
    failed = [{"run": "naive-p0.1-seed9", "error": "ValueError: no"}]
    write_runs(write_study(tmp_path, kept, missing=[FIRST], failed=failed), ROWS)
    (tmp_path / "runs" / FIRST / "summary.json").unlink()
    study = read_study(tmp_path)
    assert problems(study, FIRST, "no summary.json")
    assert problems(study, FIRST, "is missing")
    assert problems(study, "naive-p0.1-seed9", "failed: ValueError: no")
    assert len(study.rows) == len(kept)


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", "{}", '{"eval": 3}', '{"eval": {"deployed": 1}}']
)
def test_a_damaged_summary_is_named(tmp_path: Path, damage: str) -> None:
    write_runs(tmp_path, ROWS)
    (tmp_path / "runs" / FIRST / "summary.json").write_text(damage)
    study = read_study(tmp_path)
    assert problems(study, FIRST, "summary.json is damaged")
    assert len(study.rows) == len(ROWS) - 3


def test_an_interrupted_run_does_not_count(tmp_path: Path) -> None:
    write_runs(tmp_path, ROWS)
    path = tmp_path / "runs" / FIRST / "summary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "interrupted": True}))
    assert problems(read_study(tmp_path), FIRST, "was interrupted")


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        *(("seed", "x"), ("seed", 0.5), ("rule", "best"), ("oversight_probability", 2)),
        *(("method", None), ("true_return", "high"), ("true_return", 1e999), ("step", [])),
    ],
)
def test_a_damaged_row_is_left_out_by_name(tmp_path: Path, cell: str, value: object) -> None:
    study = read_study(write_study(tmp_path, [{**ROWS[0], cell: value}, *ROWS[1:]]))
    assert problems(study, "row 1", FIRST, cell)
    assert len(study.rows) == len(ROWS) - 1


def test_a_missing_seed_is_named_where_the_sweep_says_nothing(tmp_path: Path) -> None:
    lacking = [row for row in ROWS if row["run"] != "naive-p0.1-seed1"]
    write_study(tmp_path, lacking)
    (tmp_path / "results.json").write_text(json.dumps({"rows": lacking}))
    assert problems(read_study(tmp_path), "naive at p = 0.1 lacks seed 1")


def test_a_missing_rule_and_a_double_row_are_named(tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path, [*ROWS[1:], ROWS[5]]))
    assert problems(study, FIRST, "no row of rule last")
    assert problems(study, ROWS[5]["run"], "two rows of rule oracle_selection")


def test_an_event_file_cut_short_gives_what_it_has(tmp_path: Path) -> None:
    write_runs(tmp_path, ROWS[:3])
    (path,) = (tmp_path / "runs" / FIRST).glob("events*")
    tag = "eval_deployed/true_return"
    said: list[str] = []
    whole = read_curve(path.parent, tag, said)
    assert said == []
    assert list(whole) == [250_000 * point for point in range(7)]
    path.write_bytes(path.read_bytes()[:-100])
    cut = read_curve(path.parent, tag, said)
    assert 0 < len(cut) < len(whole)
    assert all(whole[step] == value for step, value in cut.items())
    assert FIRST in said[0]
    assert "cut short" in said[0]


def test_a_band_is_the_mean_of_what_there_is() -> None:
    found = band([{0: 0.0, 10: 0.2}, {0: 0.0, 10: 0.4}, {0: 0.3}, {}])
    assert found is not None
    assert found.steps.tolist() == [0, 10]
    assert found.mean.tolist() == pytest.approx([0.1, 0.3])
    assert (found.low[1], found.high[1], found.runs) == (pytest.approx(0.2), pytest.approx(0.4), 3)
    assert band([{}, {5: float("nan")}]) is None
