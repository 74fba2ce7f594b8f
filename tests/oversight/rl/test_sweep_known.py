"""A sweep continues from exported results, without the folders of their runs."""

import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from oversight.rl.report.results import export, read_study
from tests.oversight.rl.tiny_studies import IDS, results, run_sweep
from tests.oversight.rl.trained_runs import contents
from tests.oversight.runs.refusals import Capture, refused

ONE = ("tiny", "--workers", "1")


def rows(folder: Path, *without: str) -> list[dict[str, Any]]:
    """Return the rows of a sweep, without some of their cells."""
    return [
        {name: cell for name, cell in row.items() if name not in without}
        for row in results(folder)["rows"]
    ]


@pytest.fixture(scope="module")
def finished(finished_sweep: Path) -> Path:
    """A finished sweep; to be read only."""
    return finished_sweep


@pytest.fixture(scope="module")
def exported(finished: Path) -> Path:
    """The exported results of one run of each method; to be read only."""
    half, folder = finished.parent / "half", finished.parent / "exported"
    shutil.copytree(finished, half)
    for name in IDS[::2]:
        shutil.rmtree(half / "runs" / name)
    assert run_sweep(*ONE, "--folder", half, "--seeds", "1") == 0  # writes which runs are missing
    export(read_study(half), folder)
    shutil.rmtree(half)
    return folder


@pytest.fixture
def known(exported: Path, tmp_path: Path) -> Path:
    """A copy of the exported results, to be changed."""
    return shutil.copytree(exported, tmp_path / "known")


def test_export_lists_missing_runs(exported: Path) -> None:
    study = read_study(exported)
    assert (study.declared, [*study.runs.index]) == (4, [IDS[1], IDS[3]])
    missing = "2 runs are missing: routed-p0.5 (seeds 0), naive-p0.5 (seeds 0)"
    assert missing in study.problems


def test_known_runs_are_not_repeated(
    finished: Path, exported: Path, tmp_path: Path, capsys: Capture
) -> None:
    folder = tmp_path / "union"
    assert run_sweep(*ONE, "--folder", folder, "--known", exported) == 0
    assert "study tiny: 2 runs finished, 0 begun, 2 new" in capsys.readouterr().err
    assert sorted(path.name for path in (folder / "runs").iterdir()) == sorted(IDS[::2])
    assert rows(folder, "wall_seconds") == rows(finished, "wall_seconds")
    assert results(folder)["missing"] == []
    assert rows(folder)[3:6] == rows(finished)[3:6]  # with the seconds of the first sweep

    before = contents(folder)
    assert run_sweep(*ONE, "--folder", folder) == 0  # it has copied the known runs
    assert "study tiny: 4 runs finished, 0 begun, 0 new" in capsys.readouterr().err
    assert contents(folder) == before


def test_known_and_new_runs_are_reported_and_exported_together(
    finished: Path, exported: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "union"
    assert run_sweep(*ONE, "--folder", folder, "--known", exported) == 0
    one, other = read_study(folder), read_study(finished)
    assert one.curves == other.curves
    assert one.settings.keys() == other.settings.keys() == {*IDS}
    assert one.settings[IDS[0]] == other.settings[IDS[0]]
    assert (one.problems, [*one.runs.index]) == ((), IDS)
    export(one, tmp_path / "second")
    assert run_sweep(*ONE, "--folder", tmp_path / "third", "--known", tmp_path / "second") == 0
    assert rows(tmp_path / "third") == rows(folder)
    assert not (tmp_path / "third" / "runs").exists()


def test_study_of_worlds_continues_from_its_export(tmp_path: Path, capsys: Capture) -> None:
    worlds, whole, first = ("tiny_worlds", "--workers", "1"), tmp_path / "whole", tmp_path / "first"
    assert run_sweep(*worlds, "--folder", whole, "--variations", "absent_supervisor") == 0
    study = read_study(whole)
    assert "2 runs are missing: score-maps-corner_maze-p0.5 (seeds 10)" in study.problems[-1]
    assert study.variations == ("absent_supervisor",)
    assert study.settings["naive-absent_supervisor-p0.5-seed10"]["env"] == "AbsentSupervisor-v0"
    last = study.rows[study.rows["rule"] == "last"]
    for name in ("cap_rate", "goal_rate", "train_return", "train_cap_rate", "flag_flip_gap"):
        assert last[name].notna().all()
    export(study, first)
    capsys.readouterr()
    assert run_sweep(*worlds, "--folder", tmp_path / "next", "--known", first) == 0
    assert "study tiny_worlds: 2 runs finished, 0 begun, 2 new" in capsys.readouterr().err
    assert {*read_study(tmp_path / "next").variations} == {"corner_maze", "absent_supervisor"}
    assert rows(tmp_path / "next")[-6:] == rows(whole)


def test_known_results_remain_when_a_sweep_is_killed_before_its_first_run_ends(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> Sequence[object]:
        monkeypatch.setattr("oversight.rl.sweep.write_results", lambda *_: None)
        raise SystemExit(9)

    monkeypatch.setattr("oversight.runs.parallel.execute", killed)
    with pytest.raises(SystemExit):
        run_sweep(*ONE, "--folder", tmp_path, "--known", exported)
    assert results(tmp_path)["missing"] == IDS[::2]
    assert [*read_study(tmp_path).runs.index] == [IDS[1], IDS[3]]


def test_incomplete_known_run_is_repeated(known: Path, tmp_path: Path) -> None:
    lines = (known / "results.csv").read_text().splitlines()
    (known / "results.csv").write_text("\n".join(lines[:-1]) + "\n")
    assert run_sweep(*ONE, "--folder", tmp_path / "union", "--known", known) == 0
    runs = sorted(path.name for path in (tmp_path / "union" / "runs").iterdir())
    assert runs == sorted([IDS[0], IDS[2], IDS[3]])


def test_known_runs_are_refused_when_settings_differ(
    known: Path, tmp_path: Path, capsys: Capture
) -> None:
    text = (known / "settings.json").read_text()
    (known / "settings.json").write_text(text.replace('"ppo.gamma": 0.97', '"ppo.gamma": 0.5'))
    line = refused(
        capsys, run_sweep, *ONE, "--folder", tmp_path / "union", "--known", known, "--seeds", 0
    )
    assert f"holds another run {IDS[1]}: ppo.gamma is 0.5 there and 0.97 here" in line
    assert not (tmp_path / "union").exists()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: (path / "study.json").unlink(), "known holds no exported results"),
        (lambda path: (path / "settings.json").write_text("{}"), "does not hold the settings"),
        (lambda path: (path / "results.csv").unlink(), "results.csv cannot be read"),
        (
            lambda path: (path / "results.csv").write_text(
                (path / "results.csv").read_text().replace(",observed,", ",observed,x")
            ),
            f"the row of {IDS[1]} is damaged",
        ),
    ],
)
def test_damaged_export_is_refused_by_name(
    known: Path, tmp_path: Path, capsys: Capture, damage: Callable[[Path], object], message: str
) -> None:
    damage(known)
    folder = tmp_path / "union"
    assert message in refused(capsys, run_sweep, *ONE, "--folder", folder, "--known", known)
    assert not folder.exists()


def test_export_without_a_run_of_the_study_is_refused(
    known: Path, tmp_path: Path, capsys: Capture
) -> None:
    rows = known / "results.csv"
    rows.write_text(re.sub(r"^(naive|routed)-", "other-", rows.read_text(), flags=re.MULTILINE))
    folder = tmp_path / "union"
    line = refused(capsys, run_sweep, *ONE, "--folder", folder, "--known", known)
    assert "holds no run of study tiny with its settings: name an export of this study" in line
    assert not folder.exists()


def test_sweep_refuses_an_export_as_its_folder(known: Path, capsys: Capture) -> None:
    before = contents(known)
    line = refused(capsys, run_sweep, *ONE, "--folder", known)
    assert "holds exported results: name another --folder" in line
    assert contents(known) == before
    assert json.loads((known / "study.json").read_text())["study"] == "tiny"
