"""The command that reports a study: its files, its output, its refusals, and a browser."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from oversight import report
from oversight.runs import cli
from tests.oversight.rl.report.study_folders import SMALL, rows_of, write_study
from tests.oversight.rl.trained_runs import contents

CHROMIUM = shutil.which("chromium")


def run_report(*args: object) -> int:
    return cli.run(report.main, [str(arg) for arg in args])


def test_report_writes_figures_and_tables_next_to_the_page(damaged: Path) -> None:
    files = contents(damaged / "report")
    for name in ("headline", "learning-curves", "observed-and-unobserved"):
        assert {f"figures/{name}.png", f"figures/{name}.svg"} <= set(files)
    for name in (
        *("unobserved", "observed", "standings", "oracle-selection", "share", "flag-flip"),
        *("label-efficiency", "improvement", "hidden_flag-unobserved", "seeds-hidden_flag"),
    ):
        assert f"tables/{name}.csv" in files
    heading = files["tables/unobserved.csv"].decode().splitlines()[0]
    assert heading.startswith("method,p = 0.01,p = 0.01 low,p = 0.01 high,p = 0.01 seeds")


def test_table_shows_the_constructed_gain_of_oracle_selection(damaged: Path) -> None:
    gains = pd.read_csv(damaged / "report" / "tables" / "oracle-selection.csv", index_col="method")
    for level in ("p = 0.01", "p = 0.1"):
        assert [*gains[level]] == pytest.approx([0.03, 0.03])
    assert gains.loc["naive", "p = 0.1 seeds"] == 1


def test_report_of_an_export_is_that_of_its_study(
    damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_report(damaged.parent / "exported", "--out", tmp_path) == 0
    assert contents(tmp_path) == contents(damaged / "report")  # the same bytes every time
    printed = capsys.readouterr()
    assert printed.out.startswith("In unobserved episodes, routed wins at p = 0.01, by 0.")
    assert f"page:  {tmp_path / 'index.html'}" in printed.out
    assert "warning: 2 runs are missing: naive-p0.1 (seeds 1-2)" in printed.err


@pytest.mark.parametrize("flags", [[], ["--rule", "last"]])
def test_report_accepts_one_method_and_one_seed(tmp_path: Path, flags: list[str]) -> None:
    write_study(tmp_path, rows_of({"naive": (0.5,)}, levels=[0.1], seeds=[0]))
    assert run_report(tmp_path, *flags) == 0
    assert "needs at least 3 seeds" in (tmp_path / "report" / "index.html").read_text()


def test_report_accepts_runs_that_are_all_observed(tmp_path: Path) -> None:
    write_study(tmp_path, rows_of({"routed": [0.5], "oracle": [0.9]}, levels=[1.0], seeds=range(3)))
    assert run_report(tmp_path) == 0
    assert "0.9" in (tmp_path / "report" / "index.html").read_text()


def test_names_are_escaped_in_the_page(tmp_path: Path) -> None:
    write_study(tmp_path, rows_of({"<b>&": (0.5,), "naive": (0.4,)}, levels=[0.1], seeds=[0]))
    assert run_report(tmp_path) == 0
    assert "<b>&" not in (tmp_path / "report" / "index.html").read_text()


@pytest.mark.parametrize("rule", ["last", "observed"])
def test_report_refuses_a_study_without_rows_of_the_checkpoint_rule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rule: str
) -> None:
    assert run_report(tmp_path, "--rule", rule) == 2
    write_study(tmp_path, [row for row in rows_of(SMALL) if row["rule"] == "oracle_selection"])
    assert run_report(tmp_path, "--rule", rule) == 2
    assert f"no checkpoints of rule '{rule}', only of oracle_selection" in capsys.readouterr().err


def test_report_refuses_to_export_a_study_over_itself(
    damaged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_report(damaged, "--export", damaged) == 2
    assert "holds a study itself: name another --export" in capsys.readouterr().err


def test_report_refuses_a_place_that_cannot_be_written_before_it_exports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_study(tmp_path / "study", rows_of(SMALL))
    (tmp_path / "file").touch()
    places = ("--out", tmp_path / "file", "--export", tmp_path / "export")
    assert run_report(tmp_path / "study", *places) == 2
    line = f"error: the folder {tmp_path / 'file'} cannot be written (File exists): name another"
    assert line in capsys.readouterr().err
    assert not (tmp_path / "export").exists()


def test_report_says_which_file_a_folder_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_report(tmp_path) == 2
    assert "neither the results.json of a sweep nor the study.json" in capsys.readouterr().err


def test_report_names_the_extra_when_a_package_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report, "find_spec", lambda name: None if name == "pandas" else name)
    assert run_report(tmp_path) == 2
    assert "a report needs pandas: pip install" in capsys.readouterr().err


def test_report_does_not_import_training_code() -> None:
    code = (
        "import sys, oversight.report, oversight.rl.report.page; "
        "trains = {'torch', 'gymnasium', 'stable_baselines3', 'agents', 'envs', 'lm'}; "
        "print(trains & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
@pytest.mark.parametrize("width", [390, 1280])
def test_browser_shows_the_page(damaged: Path, tmp_path: Path, width: int) -> None:
    assert CHROMIUM is not None
    shot, page = tmp_path / "shot.png", damaged / "report" / "index.html"
    flags = "--headless=new --no-sandbox --disable-gpu --hide-scrollbars --enable-logging=stderr"
    done = subprocess.run(
        [
            *(CHROMIUM, *flags.split(), f"--user-data-dir={tmp_path / 'profile'}"),
            *(f"--window-size={width},1400", f"--screenshot={shot}", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert ":CONSOLE" not in done.stderr
    pixels = np.asarray(Image.open(shot).convert("L"))
    assert pixels.shape == (1400, width)
    for third in np.array_split(pixels, 3):  # something is to be read everywhere
        assert third.std() > 5
