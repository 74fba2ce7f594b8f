"""Winners, label efficiency and the sentences of the verdict, on constructed returns."""

from collections.abc import Sequence

import numpy as np
import pytest

from oversight.rl.report.comparison import (
    Efficiency,
    Panel,
    compare,
    early_stopping,
    first_crossing,
    label_efficiency,
    verdict,
)
from tests.oversight.rl.report.study_folders import panel_of, rows_of

Returns = dict[str, tuple[float, ...]]


def panel(returns: Returns, seeds: Sequence[int] = range(5), rule: str = "observed") -> Panel:
    return panel_of(rows_of(returns, (0.01, 0.1), seeds), rule)


def test_verdict_names_the_winner_and_its_margin() -> None:
    made = panel({"routed": (0.8, 0.8), "naive": (0.4, 0.5), "oracle": (0.95, 0.95)})
    margin = compare(made, made.competitors, 0.1).margin
    assert 0.27 < margin.low < margin.value < margin.high < 0.33
    assert verdict(made) == (
        f"In unobserved episodes, routed wins at every level, by at least {margin.value:.2f} "
        f"(95% interval {margin.low:.2f} to {margin.high:.2f})."
    )


def test_oracle_never_wins() -> None:
    made = panel({"oracle": (0.95, 0.95), "naive": (0.5, 0.5), "routed": (0.5, 0.5)})
    assert "oracle" not in verdict(made)
    assert "draw between" in verdict(made)


def test_verdict_names_no_winner_when_methods_tie() -> None:
    made = panel({"routed": (0.6, 0.5), "naive": (0.3, 0.5)})
    said = verdict(made)
    assert "routed wins at p = 0.01, by 0.3" in said
    assert "at p = 0.1 it is a draw between" in said


def test_verdict_names_every_winner() -> None:
    said = verdict(panel({"routed": (0.6, 0.5), "naive": (0.3, 0.8)}))
    assert "routed wins at p = 0.01" in said
    assert "naive wins at p = 0.1" in said


def test_verdict_names_the_first_of_many_tied_methods() -> None:
    made = panel(dict.fromkeys(["routed", "naive", "filtered", "uds"], (0.5, 0.5)))
    front = compare(made, made.competitors, 0.01).ranked[0]
    assert f"with {front} in front" in verdict(made)


@pytest.mark.parametrize("seeds", [[0], [0, 1]])
def test_no_verdict_when_seeds_are_few(seeds: list[int]) -> None:
    made = panel({"routed": (0.8, 0.8), "naive": (0.4, 0.5)}, seeds)
    assert "needs at least 3 seeds" in verdict(made)
    assert compare(made, made.competitors, 0.1).few == ("routed", "naive")


@pytest.mark.parametrize(
    ("methods", "why"), [(["naive"], "only naive was run"), (["oracle"], "only oracles were run")]
)
def test_no_verdict_when_one_method_was_run(methods: list[str], why: str) -> None:
    assert why in verdict(panel(dict.fromkeys(methods, (0.5, 0.5))))


def test_early_stopping_uses_the_observed_rule() -> None:
    made = panel({"routed": (0.6, 0.5), "naive": (0.3, 0.8)}, rule="last")
    said = early_stopping(made, "routed")
    assert "routed is ahead of naive at p = 0.01, by 0.3" in said
    assert "naive is ahead of routed at p = 0.1, by 0.2" in said


def test_early_stopping_verdict_names_no_winner_when_methods_tie() -> None:
    made = panel({"routed": (0.5, 0.5), "naive": (0.5, 0.5)})
    assert "routed and naive do not differ significantly at p = 0.01 and 0.1" in early_stopping(
        made, "routed"
    )


def test_early_stopping_is_unknown_without_its_runs() -> None:
    assert "no runs of naive" in early_stopping(panel({"routed": (0.5, 0.5)}), "routed")
    two = panel({"routed": (0.5, 0.5), "naive": (0.5, 0.5)}, seeds=[0, 1])
    assert "at least 3 seeds" in early_stopping(two, "routed")


EFFICIENCY_LEVELS = (0.001, 0.01, 0.1)  # 300, 3,000 and 30,000 observed episodes


def needs(*heights: float, oracle: float = 1.0) -> Efficiency | None:
    """Return the label efficiency of a method with these returns, equal over seeds."""
    returns = {"routed": heights, "oracle": (oracle,) * 3}
    rows = rows_of(returns, EFFICIENCY_LEVELS)
    for row in rows:
        level = EFFICIENCY_LEVELS.index(row["oversight_probability"])
        row["true_return_unobserved"] = returns[row["method"]][level]
    return label_efficiency(panel_of(rows), "routed")


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ([0.0, 0.4, 0.8], 30.0),
        ([0.9, 0.1, 0.9], 10.0),
        ([0.0, 0.1, 0.2], 31.0),
        ([0.0, 1.6, 0.0], 15.0),
    ],
)
def test_label_efficiency_uses_the_first_crossing(values: list[float], place: float) -> None:
    assert float(first_crossing(np.array(values), [10.0, 20.0, 30.0], 0.8)) == place


def test_label_efficiency_interpolates_in_the_logarithm() -> None:
    found = needs(0.0, 0.7, 0.9)  # 0.8 lies half way between 3,000 and 30,000
    assert found is not None
    assert found.episodes[:3] == pytest.approx((3_000 * 10**0.5,) * 3)
    assert str(found) == "9,487 (9,487 to 9,487)"


def test_label_efficiency_targets_a_share_of_the_oracle() -> None:
    found = needs(0.0, 0.35, 0.45, oracle=0.5)
    assert found is not None
    assert found.episodes.value == pytest.approx(3_000 * 10**0.5)


def test_label_efficiency_is_a_bound_outside_the_tested_range() -> None:
    assert str(needs(0.1, 0.2, 0.3)) == "over 30,000"
    assert str(needs(0.9, 0.9, 0.9)).startswith("at most 300")


def test_target_is_not_reached_when_the_oracle_has_no_return() -> None:
    assert str(needs(0.5, 0.5, 0.5, oracle=-0.1)) == "over 30,000"


def test_no_label_efficiency_without_an_oracle() -> None:
    alone = panel_of(rows_of({"routed": (0.5, 0.6, 0.7)}))
    assert label_efficiency(alone, "routed") is None
