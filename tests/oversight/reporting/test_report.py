"""The whole command: files, warnings, exit codes, and a page that a browser opens."""

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from oversight import report
from oversight.rl.report.tables import Cell, Table
from oversight.runs import cli
from tests.oversight.reporting.studies import RETURNS, rows_of, write_runs, write_study
from tests.oversight.rl.trained_runs import contents

CHROMIUM = shutil.which("chromium")
SMALL = {name: RETURNS[name] for name in ("routed", "naive", "oracle")}


def run(*args: object) -> int:
    return cli.run(report.main, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reported study of two variations; to be read only."""
    path = tmp_path_factory.mktemp("studies") / "made"
    rows = rows_of(SMALL, seeds=range(3))
    rows += rows_of({"routed": (0.7, 0.7, 0.7)}, seeds=range(2), variation="hidden_flag")
    rows[1]["flag_flip_gap"] = 0.25
    write_runs(write_study(path, rows), rows[:30])
    assert run(path) == 0
    return path


class Page(HTMLParser):
    """Collects the addresses that a page asks for, its identifiers and its links inside."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.names: list[str] = []
        self.inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        """Note what a tag refers to."""
        for name, value in attrs:
            if name == "id":
                self.names.append(value or "")
            elif name in ("src", "href", "xlink:href", "data", "srcset", "poster"):
                (self.inside if (value or "").startswith("#") else self.asked).append(value or "")


def test_the_page_holds_all_it_shows(folder: Path) -> None:
    text = (folder / "report" / "index.html").read_text()
    page = Page(text)
    assert all(address.startswith("data:") for address in page.asked)
    assert not re.search(r"https?://|@import|<script", text)
    assert {link[1:] for link in page.inside} <= set(page.names)
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(page.names)
    assert len(page.names) == len(set(page.names))


def test_the_page_says_the_verdict_first(folder: Path) -> None:
    text = (folder / "report" / "index.html").read_text()
    said = re.search(r"<h1>(.*?)</h1>", text)
    assert said is not None
    assert said[1].startswith("Where nobody watches, routed wins at every level, by at least 0.0")
    order = [said.start(), *(text.index(tag) for tag in ("<svg", "<table", "<nav", 'id="run"'))]
    assert order == sorted(order)
    for word in ("Early stopping", "abc123", "hidden_flag", "Flag-flip gap", "Module maps"):
        assert word in text


def test_figures_and_tables_lie_beside_the_page(folder: Path) -> None:
    files = contents(folder / "report")
    for name in ("headline", "learning-curves", "selection", "label-efficiency"):
        assert {f"figures/{name}.png", f"figures/{name}.svg"} <= set(files)
    for name in ("unwatched", "watched", "standings", "leak", "tax", "flag-flip", "seeds"):
        assert {f"tables/{name}.csv", f"tables/{name}.md"} <= set(files)
    heading = files["tables/unwatched.csv"].decode().splitlines()[0]
    assert heading.startswith("method,p = 0.01,p = 0.01 low,p = 0.01 high,p = 0.01 seeds")


def test_the_same_study_is_the_same_report(folder: Path, tmp_path: Path) -> None:
    assert run(folder, "--out", tmp_path / "again") == 0
    assert contents(tmp_path / "again") == contents(folder / "report")


def test_the_tax_and_the_leak_are_those_that_were_put_in(folder: Path) -> None:
    tables = folder / "report" / "tables"
    leak = (tables / "leak.md").read_text()
    assert leak.count("0.03 (0.03 to 0.03)") == 4  # two methods, two levels
    assert re.search(
        r"\| naive \| 0\.9\d \(.*?\) \| 0\.00 \(0\.00 to 0\.00\) \|",
        (tables / "tax.md").read_text(),
    )


def test_damage_is_told_and_the_rest_is_rendered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of(SMALL, seeds=range(2))
    for row in rows[:3]:
        row["commit"] = "def456-dirty"
    write_runs(write_study(tmp_path, rows), rows)
    runs = tmp_path / "runs"
    (events,) = (runs / "naive-p0.1-seed0").glob("events*")
    events.write_bytes(events.read_bytes()[:-9])
    (runs / "naive-p0.1-seed1" / "config.json").write_text("{")
    (runs / "routed-p0.1-seed0" / "modules.png").write_bytes(b"no picture")
    other = json.dumps({"versions": {"torch": "9.9"}})
    (runs / "oracle-p1-seed0" / "config.json").write_text(other)
    assert run(tmp_path) == 0
    told = capsys.readouterr().err
    page = (tmp_path / "report" / "index.html").read_text()
    for word in (
        *("mixed commits", "def456-dirty", "naive-p0.1-seed0: events", "mixed versions of torch"),
        *("naive-p0.1-seed1", "modules.png is damaged", "9 of 9 cells"),
    ):
        assert word in told
        assert word in page


@pytest.mark.parametrize("flags", [[], ["--rule", "last"]])
def test_a_study_of_one_method_and_seed_is_rendered(tmp_path: Path, flags: list[str]) -> None:
    write_study(tmp_path, rows_of({"naive": (0.5,)}, levels=[0.1], seeds=[0]))
    assert run(tmp_path, *flags) == 0
    assert "a lead is not a finding" in (tmp_path / "report" / "index.html").read_text()


def test_names_are_escaped(tmp_path: Path) -> None:
    write_study(tmp_path, rows_of({"<b>&": (0.5,), "naive": (0.4,)}, levels=[0.1]))
    assert run(tmp_path) == 0
    assert "<b>&" not in (tmp_path / "report" / "index.html").read_text()


@pytest.mark.parametrize("rule", ["last", "observed"])
def test_nothing_to_render_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rule: str
) -> None:
    assert run(tmp_path, "--rule", rule) == 2
    write_study(tmp_path, [row for row in rows_of(SMALL) if row["rule"] == "oracle_selection"])
    assert run(tmp_path, "--rule", rule) == 2
    assert f"no checkpoints of rule '{rule}', only of oracle_selection" in capsys.readouterr().err


def test_without_the_extra_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report, "find_spec", lambda name: None if name == "matplotlib" else name)
    assert run(tmp_path) == 2
    assert "a report needs matplotlib: pip install" in capsys.readouterr().err


def test_a_table_in_its_forms() -> None:
    table = Table(
        name="t", title="T", caption="C.", columns=["a", "b"], rows=[[Cell("x"), Cell(0.5, "best")]]
    )
    assert table.as_csv() == "a,b\nx,0.5\n"
    assert table.as_markdown() == "**T.** C.\n\n| a | b |\n| --- | ---: |\n| x | **0.50** |\n"


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_the_page(folder: Path, tmp_path: Path, width: int) -> None:
    assert CHROMIUM is not None
    shot, page = tmp_path / "shot.png", folder / "report" / "index.html"
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
