"""The report of grid worlds: tables, comparisons and plots against values computed by hand."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.lines import Line2D

from oversight.rl.report.comparison import Panel
from oversight.rl.report.page import Report, build_report, render
from oversight.rl.report.results import read_study
from oversight.rl.report.worlds import (
    CAP,
    GMG,
    STYLES,
    best_pairs,
    best_pairs_table,
    goal_tables,
    goals_figure,
    is_world,
    tax,
    verdict_of_worlds,
)
from oversight.rl.result_files import parse_row
from oversight.runs.statistics import UNKNOWN, Estimate
from tests.oversight.rl.report.study_folders import (
    Rows,
    panel_of,
    rows_of,
    world_rows,
    write_study,
)

Pairs = Sequence[tuple[float, float]]
"""GMG and CAP of each seed."""

SEEDS: Pairs = [(0.9, 1.0), (0.1, 0.5), (0.2, 0.75), (0.3, 0.75), (0.0, 0.75)]
"""IQM of GMG 0.2, and of CAP 0.75: the highest and the lowest of five are cut off."""


def alike(gmg: float, cap: float, seeds: int = 5) -> Pairs:
    """Return equal seeds."""
    return [(gmg, cap)] * seeds


def panel(goals: Mapping[str, Mapping[float, Pairs]], world: str = "maze") -> Panel:
    return Panel(world, pd.DataFrame(map(parse_row, world_rows(world, goals))), "observed")


def drawn(line: Line2D) -> tuple[list[float], list[float]]:
    """Return the places and the heights of the points of a line."""
    x, y = np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)
    return x.tolist(), y.tolist()


def report_of(folder: Path, rows: Rows, **others: object) -> Report:
    return build_report(
        read_study(write_study(folder, rows, **others)), "observed", ("score-maps",)
    )


def test_only_rows_with_misgeneralization_make_a_world() -> None:
    assert is_world(panel({"naive": {0.1: SEEDS}}))
    assert not is_world(panel_of(rows_of()))


def test_tables_show_the_interquartile_means_of_gmg_cap_and_return() -> None:
    made = panel({"naive": {0.01: SEEDS}, "oracle": {0.01: alike(0.0, 1.0)}})
    gmg, cap, returns = goal_tables(made, 5)
    assert [each.name for each in (gmg, cap, returns)] == ["gmg", "cap", "unobserved"]
    assert [*gmg.frame.index] == [*cap.frame.index] == ["oracle", "naive"]
    assert gmg.frame.loc["naive", "p = 0.01"].value == pytest.approx(0.2)
    assert cap.frame.loc["naive", "p = 0.01"].value == pytest.approx(0.75)
    scores = sorted(c * (1 - g) for g, c in SEEDS)
    assert returns.frame.loc["naive", "p = 0.01"].value == pytest.approx(np.mean(scores[1:4]))
    assert "<span>20.0%</span> <small>" in gmg.to_html()
    assert "<span>0.0%</span> <small>0.0 to 0.0</small>" in gmg.to_html()
    assert "naive,0.2" in gmg.to_csv()  # a share in files


def test_cells_of_fewer_seeds_say_how_many() -> None:
    made = panel({"naive": {0.01: SEEDS, 0.03: SEEDS[:3]}, "uds": {0.03: SEEDS[:1]}})
    for table in goal_tables(made, 5):
        html = table.to_html()
        assert html.count("n = 3") == 1
        assert html.count("one seed") == 1
        assert [*re.findall("<span>-</span>", html)] == ["<span>-</span>"]  # uds at 0.01


def test_seeds_that_reach_nothing_have_no_gmg_and_count_for_cap() -> None:
    rows = world_rows("maze", {"naive": {0.01: alike(0.5, 0.5, 4)}})
    for row in rows:
        if row["seed"] == 10:
            row |= {"gmg_rate": None, "cap_rate": 0.0}
    made = Panel("maze", pd.DataFrame(map(parse_row, rows)), "observed")
    assert made.estimate("naive", 0.01, GMG) == Estimate(0.5, 0.5, 0.5, 3)
    assert made.estimate("naive", 0.01, CAP).seeds == 4


def test_tax_is_the_return_at_full_oversight_minus_that_of_the_oracle() -> None:
    goals = {
        "score-maps": {0.01: alike(0.0, 0.5), 1.0: alike(0.0, 0.75)},
        "naive": {0.01: alike(0.5, 1.0)},
        "oracle": {1.0: alike(0.0, 1.0)},
    }
    made = panel(goals)
    assert tax(made, "score-maps") == Estimate(-0.25, -0.25, -0.25, 5)
    assert tax(made, "oracle") == tax(made, "naive") == UNKNOWN
    (*_, returns) = goal_tables(made, 5)
    assert [*returns.frame.columns] == ["p = 0.01", "p = 1, all episodes", "p = 1, minus oracle"]
    assert returns.frame.loc["score-maps", "p = 1, minus oracle"].value == -0.25
    del goals["oracle"]
    (*_, returns) = goal_tables(panel(goals), 5)
    assert "p = 1, minus oracle" not in returns.frame


def test_episodes_that_are_unobserved_even_at_full_oversight_have_one_column_and_no_best_pair() -> (
    None
):
    goals = {name: {1.0: alike(0.0, 0.5)} for name in ("score-maps", "imputed-conv", "oracle")}
    rows = world_rows("absent_supervisor", goals)
    for row in rows:
        row["true_return_unobserved"] = row["true_return"]
    made = Panel("absent_supervisor", pd.DataFrame(map(parse_row, rows)), "observed")
    (*_, returns) = goal_tables(made, 5)
    assert [*returns.frame.columns] == ["p = 1", "p = 1, minus oracle"]
    assert best_pairs([made], ("score-maps",)) == []


@pytest.mark.parametrize(
    ("routed", "unrouted", "halved"),
    [
        ((0.2, 0.9), (0.4, 0.9), True),
        ((0.2, 0.88), (0.4, 0.9), True),
        ((0.2, 0.86), (0.4, 0.9), False),  # 4 points of CAP
        ((0.21, 0.9), (0.4, 0.9), False),
        ((0.0, 0.9), (0.0, 0.9), False),  # nothing is left to halve
        ((0.0, 0.9), (0.01, 0.9), True),
    ],
)
def test_halved_means_half_of_gmg_at_a_like_cap(
    routed: tuple[float, float], unrouted: tuple[float, float], halved: bool
) -> None:
    goals = {"score-maps": {0.01: alike(*routed)}, "naive": {0.01: alike(*unrouted)}}
    (found,) = best_pairs([panel(goals)], ("score-maps",))
    assert found.halved is halved
    table = best_pairs_table([found])
    assert table is not None
    assert table.marks == ({("maze, 0.01", "GMG, routed"): "best"} if halved else {})
    row = table.frame.loc["maze, 0.01"]
    assert [*row[["routed", "unrouted"]]] == ["score-maps", "naive"]
    assert row["GMG, unrouted"].value == pytest.approx(unrouted[0])
    assert row["CAP, difference"].value == pytest.approx(routed[1] - unrouted[1])
    count = f"{halved:d} of 1 worlds at p = 0.01"
    assert verdict_of_worlds([found]).endswith(f"halves goal misgeneralization (GMG) in {count}.")


def test_best_methods_have_the_highest_return_and_enough_seeds_and_are_no_oracles() -> None:
    goals = {
        "score-maps": {0.01: alike(0.1, 0.5)},
        "routed": {0.01: alike(0.3, 1.0)},  # 0.7 of return
        "signed": {0.01: alike(0.0, 1.0, 2)},
        "naive": {0.01: alike(0.8, 1.0)},
        "filtered": {0.01: alike(0.0, 0.25)},  # 0.25 of return
        "oracle": {0.01: alike(0.0, 1.0)},
    }
    (found,) = best_pairs([panel(goals)], ("score-maps", "routed", "signed"))
    assert (found.routed, found.unrouted) == ("routed", "filtered")
    assert best_pairs([panel(goals)], ("reward-map",)) == []
    assert best_pairs_table([]) is None
    assert "enough seeds" in verdict_of_worlds([])


GOALS: Mapping[str, Mapping[float, Pairs]] = {
    "score-maps": {0.01: alike(0.1, 0.75), 0.03: alike(0.0, 0.75), 1.0: alike(0.0, 1.0)},
    "naive": {0.01: SEEDS, 0.03: alike(0.5, 0.5)},
    "oracle": {1.0: alike(0.05, 0.9)},
    "mine": {0.03: alike(0.25, 0.25)},
}


@pytest.mark.parametrize("names", [("maze",), ("maze", "keys"), ("a", "b", "c", "d", "e")])
def test_figure_has_gmg_and_cap_of_each_world_and_a_legend(names: Sequence[str]) -> None:
    drawing = goals_figure([panel(GOALS, name) for name in names])
    figure = drawing.draw()
    *plots, key = figure.axes
    above, below = plots[::2], plots[1::2]
    assert [axes.get_title() for axes in above] == [*names]
    assert all(axes.get_title() == "" for axes in below)
    assert (above[0].get_ylabel(), below[0].get_ylabel()) == ("GMG", "CAP")
    assert figure.get_supxlabel() == "oversight probability p"
    for axes, heights, oracle in ((above[-1], [0.1, 0.0], 0.05), (below[-1], [0.75, 0.75], 0.9)):
        maps, naive, horizontal, mine = axes.lines  # in the order of the legend
        assert drawn(maps)[0] == pytest.approx([0.01, 0.03], rel=0.2)
        assert drawn(maps)[1] == pytest.approx(heights)
        assert maps.get_color() == STYLES["score-maps"].color
        assert len(drawn(naive)[1]) == 2
        assert drawn(horizontal)[1] == pytest.approx([oracle, oracle])
        assert horizontal.get_linestyle() == "--"
        assert len(drawn(mine)[1]) == 1
        assert axes.get_xscale() == "log"
        low, high = axes.get_ylim()
        assert low <= 0
        assert high >= 1
    legend = key.get_legend()
    assert legend is not None
    shown = [text.get_text() for text in legend.get_texts()]
    assert shown == ["score-maps", "naive", "oracle", "mine"]
    assert all(name in drawing.alt for name in names)


@pytest.mark.parametrize("level", [0.01, 1.0])
def test_figure_of_a_study_that_has_only_begun_has_one_level(level: float) -> None:
    figure = goals_figure([panel({"score-maps": {level: alike(0.5, 0.5)}})]).draw()
    above, below, _ = figure.axes
    (line,) = above.lines
    assert drawn(line)[1] == [0.5]
    assert [text.get_text() for text in below.get_xticklabels()] == [f"{level:g}"]


def test_worlds_share_their_axes_although_one_has_only_its_oracle() -> None:
    first = panel({"oracle": {1.0: alike(0.25, 0.75)}}, "keys")
    above, _, other, *_ = goals_figure([first, panel(GOALS)]).draw().axes
    assert above.get_xlim() == other.get_xlim()
    (line,) = above.lines
    assert drawn(line)[1] == [0.25, 0.25]


def test_similar_methods_share_a_color_and_no_two_look_alike() -> None:
    assert STYLES["score-maps"].color == STYLES["score-maps-unrouted"].color
    looks = {(style.color, style.line, style.marker) for style in STYLES.values()}
    assert len(looks) == len(STYLES)


def test_page_of_worlds_compares_them_first_and_names_what_is_missing(tmp_path: Path) -> None:
    rows = world_rows("maze", GOALS) + world_rows("keys", {"naive": {0.01: SEEDS[:2]}})
    missing = ["naive-keys-p0.01-seed12", "naive-keys-p0.01-seed13"]
    write_study(tmp_path, rows)
    for run in {row["run"]: row for row in rows}:
        path = tmp_path / "runs" / run
        path.mkdir(parents=True)
        env = "Maze-v0" if "-maze-" in run else "Keys-v0"
        (path / "config.json").write_text(json.dumps({"env": env}))
    report = report_of(tmp_path, rows, missing=missing)
    assert [each.title for each in report.chapters] == ["", "maze", "keys"]
    assert [each.changes for each in report.chapters] == ["", "env = Maze-v0", "env = Keys-v0"]
    names = [block.name for block in report.blocks]
    assert names[:5] == ["worlds", "routed-and-unrouted", "maze-gmg", "maze-cap", "maze-unobserved"]
    assert "keys-gmg" in names
    assert not any("learning-curves" in name or "early-stopping" in name for name in names)
    html = render(report)
    assert "<h1>The best routed method halves goal misgeneralization (GMG) in 1 of 1 worlds" in html
    assert "at p = 0.01 and 1 of 1 worlds at p = 0.03.</h1>" in html
    assert "2 runs are missing: naive-keys-p0.01 (seeds 12-13)" in html
    assert "Every number is of test levels" in html
    assert "terminal square" not in html


def test_world_that_is_the_main_variation_keeps_all_sections(tmp_path: Path) -> None:
    report = report_of(tmp_path, world_rows("default", GOALS))
    (chapter,) = report.chapters
    anchors = [each.anchor for each in chapter.sections]
    assert {"top", "standings", "early-stopping", "improvement"} <= {*anchors}
    assert [block.name for block in chapter.sections[0].blocks] == ["gmg", "cap", "unobserved"]
