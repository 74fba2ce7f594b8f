"""Studies and exports: whole, empty, unfinished or damaged."""

import shutil
from pathlib import Path

import pytest

from oversight.rl.report.results import Study, export, read_study
from tests.oversight.rl.report.study_folders import rows_of, world_rows, write_study
from tests.oversight.rl.trained_runs import contents

ROWS = rows_of(seeds=range(2))
FIRST = ROWS[0]["run"]


def problems(study: Study, *words: str) -> list[str]:
    """Return the problems that have all of the words."""
    return [each for each in study.problems if all(word in each for word in words)]


def test_whole_study_has_no_problems(tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path, ROWS))
    assert study.problems == ()
    assert (study.name, study.declared, len(study.rows)) == (
        "constructed",
        len(ROWS) // 3,
        len(ROWS),
    )


@pytest.mark.parametrize("content", [None, "", "[]", "{", '{"rows": []}', '{"rows": 3}'])
def test_study_without_readable_results_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "results.json").write_text(content)
    with pytest.raises(ValueError, match="holds no results to report"):
        read_study(tmp_path)


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a folder"):
        read_study(tmp_path / "nowhere")


def test_unfinished_and_failed_runs_are_named(tmp_path: Path) -> None:
    kept = [row for row in ROWS if row["run"] != FIRST]
    failed = [{"run": "naive-p0.1-seed9", "error": "ValueError: no"}]
    study = read_study(write_study(tmp_path, kept, missing=[FIRST], failed=failed))
    assert problems(study, FIRST, "is missing")
    assert problems(study, "naive-p0.1-seed9", "failed: ValueError: no")
    assert len(study.rows) == len(kept)


def test_many_cells_of_missing_runs_are_counted(tmp_path: Path) -> None:
    missing = [f"kl-p0.{level}-seed{seed}" for level in range(1, 9) for seed in range(2)]
    (problem,) = read_study(write_study(tmp_path, ROWS, missing=missing)).problems
    assert problem.startswith("16 runs are missing: kl-p0.1 (seeds 0-1), ")
    assert problem.endswith("kl-p0.6 (seeds 0-1), and 2 more, which results.json names")


def test_study_whose_runs_all_failed_is_refused_with_their_errors(tmp_path: Path) -> None:
    write_study(tmp_path, [], failed=[{"run": FIRST, "error": "no room"}])
    with pytest.raises(ValueError, match=f"no results to report: {FIRST} failed: no room"):
        read_study(tmp_path)


@pytest.mark.parametrize("entry", ["failed", "missing"])
def test_lists_of_runs_that_are_none_are_ignored(tmp_path: Path, entry: str) -> None:
    assert len(read_study(write_study(tmp_path, ROWS, **{entry: 7})).rows) == len(ROWS)


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        *(("seed", "x"), ("seed", 0.5), ("rule", "best"), ("oversight_probability", 2)),
        *(("method", None), ("true_return", "high"), ("true_return", 1e999), ("step", [])),
        *(("seed", 2**70), ("step", 1e300)),
    ],
)
def test_damaged_row_is_left_out_and_named(tmp_path: Path, cell: str, value: object) -> None:
    study = read_study(write_study(tmp_path, [{**ROWS[0], cell: value}, *ROWS[1:]]))
    assert problems(study, "row 1", FIRST, cell)
    assert len(study.rows) == len(ROWS) - 1


def test_repeated_row_is_named(tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path, [*ROWS, ROWS[5]]))
    assert len(study.rows) == len(ROWS)
    assert problems(study, ROWS[5]["run"], "has two rows of rule oracle_selection")


@pytest.fixture
def small(damaged: Path, tmp_path: Path) -> Path:
    """A copy of an export, to be changed."""
    return shutil.copytree(damaged.parent / "exported", tmp_path / "small")


def test_export_holds_the_same_study(damaged: Path, small: Path) -> None:
    whole, read = read_study(damaged), read_study(small)
    assert read.rows.equals(whole.rows)
    assert read.curves == whole.curves
    assert read.settings == whole.settings
    assert read.module_maps == whole.module_maps
    assert read.problems == whole.problems
    assert (read.name, read.declared) == (whole.name, whole.declared) == ("constructed", 33)
    assert len(whole.curves) == 31
    assert sorted(whole.module_maps)[2] == "routed-p0.1-seed1"  # the map of seed 0 is damaged
    assert len(whole.module_maps) == len(list((small / "modules").iterdir())) == 3
    assert "paper_return" in (small / "results.csv").read_text().splitlines()[0]


def test_metrics_of_worlds_are_read_and_exported(tmp_path: Path) -> None:
    rows = world_rows("maze", {"naive": {0.01: [(0.25, 0.5), (0.1 + 0.2, 1.0)]}})
    rows[0]["gmg_rate"] = None
    study = read_study(write_study(tmp_path / "study", rows))
    export(study, tmp_path / "exported")
    for each in (study, read_study(tmp_path / "exported")):
        for name in ("cap_rate", "gmg_rate", "goal_rate", "train_return", "train_cap_rate"):
            values = each.rows[name].astype(object)
            assert values.where(values.notna(), None).tolist() == [row[name] for row in rows]


def test_export_of_an_export_is_byte_equal(small: Path, tmp_path: Path) -> None:
    export(read_study(small), tmp_path / "second")
    assert contents(tmp_path / "second") == contents(small)


def test_export_replaces_an_earlier_one(damaged: Path, small: Path) -> None:
    fresh = contents(small)
    (small / "modules" / "gone-p0.1-seed0.png").touch()
    (small / "curves.csv").write_text("run\n")
    export(read_study(damaged), small)
    assert contents(small) == fresh


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("curves.csv", "", "its first line does not begin with run"),
        ("settings.json", '{"shared": 3, "groups": [{"own": {}, "runs": [1]}]}', "settings of run"),
        ("settings.json", None, "settings.json cannot be read"),
    ],
)
def test_damaged_part_of_an_export_is_named_and_the_rest_is_read(
    small: Path, name: str, content: str | None, problem: str
) -> None:
    (small / name).unlink()
    if content is not None:
        (small / name).write_text(content)
    study = read_study(small)
    assert len(study.rows) == 93
    assert problems(study, problem)


def test_export_with_rows_cut_short(small: Path) -> None:
    lines = (small / "results.csv").read_text().splitlines()
    (small / "results.csv").write_text("\n".join([*lines[:-2], lines[-2][:40]]))
    assert problems(read_study(small), "row 92 (naive-hidden_flag-p1-seed1) was left out")


def test_export_without_its_rows_or_its_description_is_refused(small: Path) -> None:
    (small / "study.json").write_text("{")
    with pytest.raises(ValueError, match=r"no results to report: .*study.json is not JSON"):
        read_study(small)
    (small / "results.csv").unlink()
    with pytest.raises(ValueError, match=r"no results to report: .*results.csv cannot be read"):
        read_study(small)


def test_study_is_not_exported_over_itself(damaged: Path, tmp_path: Path) -> None:
    study, before = read_study(damaged), contents(damaged)
    with pytest.raises(ValueError, match="holds a study itself: name another --export"):
        export(study, damaged)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="name another --export"):
        export(study, tmp_path / "file" / "x")
    assert contents(damaged) == before
