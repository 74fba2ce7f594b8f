"""The share of the oracle, against values that can be worked out by hand."""

from math import isnan

import numpy as np
import pytest

from oversight.rl.report.comparison import Panel
from oversight.rl.report.results import parse_row
from oversight.rl.report.tables import Cell, ratio, share_table
from tests.oversight.reporting.studies import RETURNS, Rows, rows_of


def panel(rows: Rows) -> Panel:
    return Panel("default", [parse_row(row) for row in rows], "observed")


def exact(method: str, *returns: float | None) -> Rows:
    """Return rows at p = 0.1 of exactly these returns where nobody watches."""
    rows = rows_of({method: (0.5,)}, levels=[0.1], seeds=range(len(returns)))
    for row in rows:
        row["true_return_unobserved"] = returns[row["seed"]]
    return rows


def test_a_ratio_is_that_of_the_iqms() -> None:
    found = ratio(np.array([0.0, 0.4, 0.6, 9.0]), np.array([0.8, 0.8, 0.8]))
    assert found.value == pytest.approx(0.5 / 0.8)
    assert found.low < found.value < found.high
    assert found.seeds == 3


def test_the_interval_is_that_of_all_resamples_of_two_seeds() -> None:
    found = ratio(np.array([0.2, 0.6]), np.array([0.5, 1.0]))
    assert found.value == pytest.approx(0.4 / 0.75)
    assert [found.low, found.high] == pytest.approx([0.2, 1.2])  # each is 1 resample in 16


@pytest.mark.parametrize("ceiling", [[], [0.0, 0.0], [-0.5, -0.1]])
def test_nothing_is_a_share_of_nothing(ceiling: list[float]) -> None:
    assert isnan(ratio(np.array([0.5, 0.5]), np.array(ceiling)).value)


def test_the_table_has_the_oracle_at_each_level_and_plain_ppo_at_full_oversight() -> None:
    made = panel(rows_of(RETURNS))
    table = share_table(made, "share")
    assert table is not None
    assert table.columns == ["method", "p = 0.01", "p = 0.1", "p = 1, of plain PPO"]
    cells = {row[0].main: row[1:] for row in table.rows}
    assert {*cells} == {"routed", "naive", "filtered"}  # an oracle is what is measured by
    shares = {method: [height / 0.95 for height in RETURNS[method][:2]] for method in cells}
    for method, (low, middle) in shares.items():
        assert float(cells[method][0].main) == pytest.approx(low, abs=0.04)
        assert float(cells[method][1].main) == pytest.approx(middle, abs=0.04)
        assert float(cells[method][2].main) == pytest.approx(1.0, abs=0.04)
    assert str(cells["naive"][2]) == "1.00 (1.00 to 1.00)"
    assert str(cells["filtered"][0]) != str(cells["filtered"][1])


def test_a_share_is_of_the_chosen_checkpoints_and_known_seeds() -> None:
    rows = exact("naive", 0.3, 0.3, None) + exact("oracle", 0.6, 0.6, 0.6)
    for row in rows:
        if row["rule"] != "observed":
            row["true_return_unobserved"] = 0.9
    table = share_table(panel(rows), "share")
    assert table is not None
    assert table.columns == ["method", "p = 0.1"]
    assert [[str(cell) for cell in row] for row in table.rows] == [["naive", "0.50 (0.50 to 0.50)"]]
    assert table.rows[0][1].value == Cell(ratio(np.full(2, 0.3), np.full(3, 0.6))).value


def test_without_an_oracle_and_plain_ppo_there_is_no_table() -> None:
    assert share_table(panel(exact("routed", 0.5, 0.5)), "share") is None
    assert share_table(panel(exact("naive", 0.5, 0.5)), "share") is None
