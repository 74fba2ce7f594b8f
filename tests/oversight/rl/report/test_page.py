"""The page: its HTML, its warnings, and the comparison of variations."""

import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from math import isnan
from pathlib import Path

import pytest

from oversight.rl.report.page import Report, Section, build_report, render
from oversight.rl.report.results import read_study
from oversight.rl.report.tables import Table
from oversight.runs.figures import Drawing
from tests.oversight.rl.report.study_folders import Rows, rows_of, write_runs, write_study

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


def write_settings(folder: Path) -> None:
    """Give every run the settings of its method, with those that its variation changes."""
    for path in (folder / "runs").iterdir():
        tuned = {"learning_rate": 0.1 if path.name.startswith("naive") else 0.2}
        config = {"seed": int(path.name[-1]), "total_timesteps": 1_500_000, "ppo": tuned}
        config["grid"] = {"flag": "hidden" if "hidden_flag" in path.name else "visible"}
        if "long" in path.name:
            config["total_timesteps"] = 10_000_000
        (path / "config.json").write_text(json.dumps({**config, "versions": {"torch": "2"}}))


def report_of(folder: Path) -> Report:
    return build_report(read_study(folder), "observed", ("routed",))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The report of a study with three variations, made from all of its runs."""
    folder = write_study(tmp_path_factory.mktemp("studies") / "variations", rows())
    write_runs(folder, rows())
    write_settings(folder)
    return report_of(folder)


def tables_of(section: Section) -> list[Table]:
    return [block for block in section.blocks if isinstance(block, Table)]


def test_each_level_that_a_variation_shares_has_a_table(report: Report) -> None:
    assert report.variations is not None
    low, middle = tables_of(report.variations)
    assert (low.name, middle.name) == ("variations-p0.01", "variations-p0.1")
    assert [*low.frame.columns] == ["default", "hidden_flag"]
    assert [*middle.frame.columns] == ["default", "hidden_flag", "long"]
    assert [*low.frame.index] == ["oracle", "routed"]  # naive has only the default there
    assert [*middle.frame.index] == ["oracle", "routed", "naive"]
    shown = middle.frame.map(lambda cell: cell.value)
    assert isnan(shown.loc["oracle", "long"])  # not run there
    assert isnan(shown.loc["naive", "hidden_flag"])
    expected = ((0.9, 0.8), (0.7, 0.3, 0.6), (0.6, 0.1))
    for (_, cells), heights in zip(shown.iterrows(), expected, strict=True):
        assert [*cells.dropna()] == pytest.approx(heights, abs=0.021)


def test_column_is_marked_among_the_methods_that_it_shows(report: Report) -> None:
    assert report.variations is not None
    marks = tables_of(report.variations)[1].marks
    assert marks == {("routed", "default"): "best", ("routed", "long"): "best"}


def test_changed_settings_are_named(report: Report) -> None:
    assert {chapter.title: chapter.changes for chapter in report.chapters} == {
        "": "",
        "hidden_flag": "grid.flag = hidden",
        "long": "total_timesteps = 10,000,000",
    }
    assert report.variations is not None
    assert report.variations.lead == (
        "True return in unobserved episodes: hidden_flag has grid.flag = hidden; "
        "long has total_timesteps = 10,000,000."
    )


def test_every_chapter_has_learning_curves(report: Report) -> None:
    drawn = [drawing.name for drawing in report.blocks]
    for name in ("learning-curves", "hidden_flag-learning-curves", "long-learning-curves"):
        assert drawn.count(name) == 1


def test_no_changes_are_named_without_the_settings_of_runs(tmp_path: Path) -> None:
    report = report_of(write_study(tmp_path, rows()))
    assert [chapter.changes for chapter in report.chapters] == ["", "", ""]
    assert report.variations is not None
    assert report.variations.lead == "True return in unobserved episodes."


def test_study_without_variations_has_no_such_section(tmp_path: Path) -> None:
    alone = [row for row in rows() if row["variation"] == "default"]
    assert report_of(write_study(tmp_path, alone)).variations is None


class Page(HTMLParser):
    """Collects the addresses that a page loads, its identifiers and its internal links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.names: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        """Collect the references of a tag."""
        for name, value in attrs:
            if name == "id":
                self.names.append(value or "")
            elif name in ("src", "href", "xlink:href", "data", "srcset", "poster"):
                (self.links if (value or "").startswith("#") else self.loaded).append(value or "")


@pytest.fixture(scope="module")
def html(damaged: Path) -> str:
    """The page of the damaged study."""
    return (damaged / "report" / "index.html").read_text()


def test_page_loads_nothing_and_its_links_exist(html: str) -> None:
    page = Page(html)
    assert all(address.startswith("data:") for address in page.loaded)
    assert not re.search(r"https?://|@import|<script", html)
    assert {link[1:] for link in page.links} <= set(page.names)
    assert set(re.findall(r"url\(#([^)]*)\)", html)) <= set(page.names)
    assert len(page.names) == len(set(page.names))


def test_page_begins_with_the_verdict(html: str) -> None:
    verdict = re.search(r"<h1>(.*?)</h1>", html)
    assert verdict is not None
    assert verdict[1].startswith("In unobserved episodes, routed wins at p = 0.01, by 0.")
    order = [verdict.start(), *(html.index(tag) for tag in ("<svg", "<table", "<nav", 'id="runs"'))]
    assert order == sorted(order)
    for words in ("Early stopping", "abc123", "hidden_flag", "Flag-flip gap", "Module maps"):
        assert words in html


def test_page_shows_what_is_damaged_or_missing(html: str) -> None:
    for words in (
        *("31 of 33 runs", "2 runs are missing: naive-p0.1 (seeds 1-2)", "mixed commits"),
        *("naive-p0.1-seed0: events", "cut short"),
        *("def456-dirty has uncommitted changes", "mixed versions of torch", "oracle-p0.1-seed1"),
        *("modules.png is damaged", "9 of 9 cells", "3 of 3 cells"),
    ):
        assert words in html


def test_early_stopping_is_told_once(tmp_path: Path) -> None:
    page = render(report_of(write_study(tmp_path, rows_of(seeds=range(3)))))
    assert page.count("With early stopping on observed episodes") == 1
    alone = rows_of({"routed": (0.5,)}, levels=[0.1], seeds=range(3))
    assert render(report_of(write_study(tmp_path, alone))).count("early stopping is unknown") == 1


@pytest.mark.parametrize("levels", [(0.1,), (0.01, 0.1), (0.1, 1.0)])
def test_every_axis_is_labeled(tmp_path: Path, levels: Sequence[float]) -> None:
    heights = dict.fromkeys(("routed", "naive", "oracle"), (0.5,) * len(levels))
    made = rows_of(heights, levels=levels, seeds=range(2))
    write_runs(write_study(tmp_path, made), made)
    drawings = [each for each in report_of(tmp_path).blocks if isinstance(each, Drawing)]
    assert {each.name for each in drawings} >= {"headline", "learning-curves"}
    for drawing in drawings:
        figure = drawing.draw()
        shared = figure.get_supxlabel() and figure.get_supylabel()
        assert shared or all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)


def test_headline_names_every_method_at_one_level(tmp_path: Path) -> None:
    heights = {"routed": (0.5, 0.9), "naive": (0.6, 0.9), "oracle": (0.9, 0.9)}
    write_study(tmp_path, rows_of(heights, levels=(0.1, 1.0), seeds=range(2)))
    (headline, *_) = report_of(tmp_path).blocks
    assert isinstance(headline, Drawing)
    (axes,) = headline.draw().axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["routed", "naive", "oracle"]
    assert (axes.get_xscale(), axes.get_xlabel()) == ("linear", "true return")
    assert len(axes.collections) == 3  # an interval of each, the range of its two seeds
