"""Variations side by side, what is changed in them, and their learning curves."""

import json
from pathlib import Path

import pytest

from oversight.rl.report.curves import read_traces
from oversight.rl.report.page import Document, compose, every
from oversight.rl.report.results import read_study
from oversight.rl.report.tables import Table
from tests.oversight.reporting.studies import Rows, rows_of, write_runs, write_study

LEVELS = (0.01, 0.1, 1.0)
DEFAULT = {
    "routed": (0.5, 0.7, 0.9),
    "naive": (0.4, 0.6, 0.9),
    "filtered": (0.5, 0.8, 0.9),  # in front of all, and in no variation
    "oracle": (0.9, 0.9, 0.9),
}
HIDDEN = {"routed": (0.2, 0.3), "oracle": (0.8, 0.8)}
LONG = {"routed": (0.6,), "naive": (0.1,)}


def rows() -> Rows:
    """Return the rows of a study in which one variation has two levels and one has one."""
    return [
        *rows_of(HIDDEN, levels=LEVELS[:2], seeds=range(3), variation="hidden_flag"),
        *rows_of(DEFAULT, levels=LEVELS, seeds=range(3)),
        *rows_of(LONG, levels=[0.1], seeds=range(3), variation="long"),
    ]


def settle(folder: Path) -> None:
    """Give every run the settings of its method, with what its variation changes."""
    for path in (folder / "runs").iterdir():
        tuned = {"learning_rate": 0.1 if path.name.startswith("naive") else 0.2}
        config = {"seed": int(path.name[-1]), "total_timesteps": 1_500_000, "ppo": tuned}
        config["grid"] = {"flag": "hidden" if "hidden_flag" in path.name else "visible"}
        if "long" in path.name:
            config["total_timesteps"] = 10_000_000
        (path / "config.json").write_text(json.dumps({**config, "versions": {"torch": "2"}}))


def document(folder: Path) -> Document:
    study = read_study(folder)
    return compose(study, read_traces(study), "observed", ("routed",))


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Document:
    """The document of the study with all its runs; to be read only."""
    folder = write_study(tmp_path_factory.mktemp("studies") / "made", rows())
    write_runs(folder, rows())
    settle(folder)
    return document(folder)


def tables(composed: Document) -> dict[str, Table]:
    return {table.name: table for section in every(composed) for table in section.tables}


def test_each_level_that_a_variation_shares_has_a_table(composed: Document) -> None:
    found = {name: each for name, each in tables(composed).items() if name.startswith("variations")}
    assert list(found) == ["variations-p0.01", "variations-p0.1"]
    assert found["variations-p0.01"].columns == ["method", "default", "hidden_flag"]
    table = found["variations-p0.1"]
    assert table.columns == ["method", "default", "hidden_flag", "long"]
    assert [row[0].main for row in table.rows] == ["oracle", "routed", "naive"]
    shown = [[cell.main for cell in row[1:]] for row in table.rows]
    assert [len(cells) for cells in shown] == [3, 3, 3]
    assert shown[0][2] == shown[2][1] == "-"  # not run there
    for cells, heights in zip(shown, ((0.9, 0.8), (0.7, 0.3, 0.6), (0.6, 0.1)), strict=True):
        known = [float(cell) for cell in cells if cell != "-"]
        assert known == pytest.approx(heights, abs=0.021)


def test_a_column_is_marked_among_the_methods_that_it_shows(composed: Document) -> None:
    rows = {row[0].main: row[1:] for row in tables(composed)["variations-p0.1"].rows}
    assert [cell.mark for cell in rows["naive"]] == ["", "", ""]
    assert [cell.mark for cell in rows["routed"]] == ["best", "", "best"]
    assert [cell.mark for cell in rows["oracle"]] == ["", "", ""]
    low = {row[0].main: row[1:] for row in tables(composed)["variations-p0.01"].rows}
    assert "naive" not in low  # no variation has it there, so the default's is in its own table


def test_what_is_changed_is_said_in_words(composed: Document) -> None:
    said = {chapter.title: chapter.changes for chapter in composed.chapters}
    assert said == {
        "": "",
        "hidden_flag": "grid.flag = hidden",
        "long": "total_timesteps = 10,000,000",
    }
    assert composed.variations is not None
    assert composed.variations.lead == (
        "True return where nobody watches: hidden_flag has grid.flag = hidden; "
        "long has total_timesteps = 10,000,000."
    )


def test_every_chapter_draws_its_learning_curves(composed: Document) -> None:
    drawn = [drawing.name for section in every(composed) for drawing in section.drawings]
    for name in ("learning-curves", "hidden_flag-learning-curves", "long-learning-curves"):
        assert drawn.count(name) == 1


def test_without_runs_nothing_is_said_to_be_changed(tmp_path: Path) -> None:
    composed = document(write_study(tmp_path, rows()))
    assert [chapter.changes for chapter in composed.chapters] == ["", "", ""]
    assert composed.variations is not None
    assert composed.variations.lead == "True return where nobody watches."


def test_a_study_without_variations_has_no_such_section(tmp_path: Path) -> None:
    alone = [row for row in rows() if row["variation"] == "default"]
    assert document(write_study(tmp_path, alone)).variations is None
