"""Label efficiency on curves whose crossing is known."""

import numpy as np
import pytest

from oversight.rl.report.comparison import Efficiency, Panel, first_crossing, label_efficiency
from oversight.rl.report.results import parse_row
from tests.oversight.reporting.studies import rows_of

LEVELS = (0.001, 0.01, 0.1)  # 300, 3,000 and 30,000 observed episodes


def needs(*heights: float, oracle: float = 1.0) -> Efficiency | None:
    """Return what a method of such heights needs, all seeds alike."""
    returns = {"routed": heights, "oracle": (oracle,) * 3}
    rows = rows_of(returns, LEVELS)
    for row in rows:
        level = LEVELS.index(row["oversight_probability"])
        row["true_return_unobserved"] = returns[row["method"]][level]
    return label_efficiency(Panel("default", map(parse_row, rows), "observed"), "routed")


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ([0.0, 0.4, 0.8], 30.0),
        ([0.9, 0.1, 0.9], 10.0),
        ([0.0, 0.1, 0.2], 31.0),
        ([0.0, 1.6, 0.0], 15.0),
    ],
)
def test_the_first_crossing_counts(values: list[float], place: float) -> None:
    assert float(first_crossing(np.array(values), [10.0, 20.0, 30.0], 0.8)) == place


def test_half_way_in_the_logarithm() -> None:
    found = needs(0.0, 0.7, 0.9)  # 0.8 lies half way between 3,000 and 30,000
    assert found is not None
    assert found.episodes[:3] == pytest.approx((3_000 * 10**0.5,) * 3)
    assert str(found) == "9,487 (9,487 to 9,487)"


def test_the_target_is_a_share_of_the_oracle() -> None:
    found = needs(0.0, 0.35, 0.45, oracle=0.5)
    assert found is not None
    assert found.episodes.value == pytest.approx(3_000 * 10**0.5)


def test_what_lies_outside_is_said_to() -> None:
    assert str(needs(0.1, 0.2, 0.3)) == "over 30,000"
    assert str(needs(0.9, 0.9, 0.9)).startswith("at most 300")


def test_an_oracle_that_has_nothing_is_no_target() -> None:
    assert str(needs(0.5, 0.5, 0.5, oracle=-0.1)) == "over 30,000"


def test_without_an_oracle_there_is_no_target() -> None:
    panel = Panel("default", map(parse_row, rows_of({"routed": (0.5, 0.6, 0.7)})), "observed")
    assert label_efficiency(panel, "routed") is None
