"""Tables: their forms, and the share of the oracle against values computed by hand."""

import re
from math import isnan, nan

import numpy as np
import pandas as pd
import pytest

from oversight.rl.report.tables import Table, improvement_table, ratio, share_table
from oversight.runs.statistics import Estimate
from tests.oversight.rl.report.study_folders import RETURNS, Rows, panel_of, rows_of


def test_table_is_written_as_csv_and_html() -> None:
    cells = {"b": [Estimate(0.5, 0.25, 0.75, 5), Estimate(0.1, nan, nan, 1)], "c": ["<y>", 1_000]}
    table = Table(
        name="t",
        title="T",
        caption="C.",
        frame=pd.DataFrame(cells, pd.Index(["x", "w"], name="a"), dtype=object),
        marks={("x", "b"): "best", ("w", "b"): "draw"},
    )
    assert table.to_csv() == "a,b,b low,b high,b seeds,c\nx,0.5,0.25,0.75,5,<y>\nw,0.1,,,1,1000\n"
    html = table.to_html()
    assert [*re.findall("<th>(.*?)</th>", html)] == ["a", "b", "c", "x", "w"]
    assert [*re.findall("<td>(.*?)</td>", html)] == [
        "<b>0.50</b> <small>0.25 to 0.75</small>",
        "<span>&lt;y&gt;</span>",
        "<u>0.10</u> <small>one seed</small>",
        "<span>1,000</span>",
    ]


def exact(method: str, *returns: float | None) -> Rows:
    """Return rows at p = 0.1 of exactly these returns in unobserved episodes."""
    rows = rows_of({method: (0.5,)}, levels=[0.1], seeds=range(len(returns)))
    for row in rows:
        row["true_return_unobserved"] = returns[row["seed"]]
    return rows


def test_ratio_is_that_of_interquartile_means() -> None:
    found = ratio(np.array([0.0, 0.4, 0.6, 9.0]), np.array([0.8, 0.8, 0.8]))
    assert found.value == pytest.approx(0.5 / 0.8)
    assert found.low < found.value < found.high
    assert found.seeds == 3


def test_interval_of_a_ratio_covers_all_resamples_of_two_seeds() -> None:
    found = ratio(np.array([0.2, 0.6]), np.array([0.5, 1.0]))
    assert found.value == pytest.approx(0.4 / 0.75)
    assert [found.low, found.high] == pytest.approx([0.2, 1.2])  # each is 1 resample in 16


@pytest.mark.parametrize("ceiling", [[], [0.0, 0.0], [-0.5, -0.1]])
def test_ratio_is_unknown_when_the_reference_has_no_return(ceiling: list[float]) -> None:
    assert isnan(ratio(np.array([0.5, 0.5]), np.array(ceiling)).value)


def test_share_table_refers_to_the_oracle_and_to_plain_ppo_at_full_oversight() -> None:
    made = panel_of(rows_of(RETURNS))
    table = share_table(made)
    assert table is not None
    assert [*table.frame.columns] == ["p = 0.01", "p = 0.1", "p = 1, of plain PPO"]
    assert {*table.frame.index} == {"routed", "naive", "filtered"}  # all but the reference
    for method, cells in table.frame.iterrows():
        low, middle, _ = RETURNS[str(method)]
        expected = [low / 0.95, middle / 0.95, 1.0]
        assert [cell.value for cell in cells] == pytest.approx(expected, abs=0.04)
    assert table.frame.loc["naive"].iloc[2] == Estimate(1.0, 1.0, 1.0, 5)


def test_share_uses_selected_checkpoints_and_known_seeds() -> None:
    rows = exact("naive", 0.3, 0.3, None) + exact("oracle", 0.6, 0.6, 0.6)
    for row in rows:
        if row["rule"] != "observed":
            row["true_return_unobserved"] = 0.9
    table = share_table(panel_of(rows))
    assert table is not None
    assert table.frame.shape == (1, 1)
    assert table.frame.loc["naive", "p = 0.1"] == ratio(np.full(2, 0.3), np.full(3, 0.6))


def test_no_share_table_without_oracle_and_plain_ppo() -> None:
    assert share_table(panel_of(exact("routed", 0.5, 0.5))) is None
    assert share_table(panel_of(exact("naive", 0.5, 0.5))) is None


def test_improvement_is_one_half_between_equal_methods_and_one_over_a_worse_one() -> None:
    made = panel_of(exact("routed", 0.5, 0.5) + exact("naive", 0.5, 0.5) + exact("uds", 0.1, 0.2))
    table = improvement_table(made, ["routed"])
    assert table is not None
    chances = table.frame["routed beats"]
    assert chances["naive"] == Estimate(0.5, 0.5, 0.5, 2)
    assert chances["uds"] == Estimate(1.0, 1.0, 1.0, 2)
    assert isnan(chances["routed"].value)
    assert improvement_table(panel_of(exact("routed", 0.5, 0.5)), ["routed"]) is None
