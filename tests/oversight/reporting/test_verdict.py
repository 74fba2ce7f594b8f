"""The verdict's sentences on constructed studies."""

from collections.abc import Sequence

import pytest

from oversight.rl.report.comparison import Panel, compare, early_stopping, verdict
from oversight.rl.report.results import parse_row
from tests.oversight.reporting.studies import rows_of

Returns = dict[str, tuple[float, ...]]


def panel(returns: Returns, seeds: Sequence[int] = range(5), rule: str = "observed") -> Panel:
    levels = (0.01, 0.1)
    return Panel("default", map(parse_row, rows_of(returns, levels, seeds)), rule)


def test_a_clear_win_is_said_with_its_interval() -> None:
    made = panel({"routed": (0.8, 0.8), "naive": (0.4, 0.5), "oracle": (0.95, 0.95)})
    margin = compare(made, made.competitors, 0.1).margin
    assert 0.27 < margin.low < margin.value < margin.high < 0.33
    assert verdict(made) == (
        f"Where nobody watches, routed wins at every level, by at least {margin.value:.2f} "
        f"(95% interval {margin.low:.2f} to {margin.high:.2f})."
    )


def test_an_oracle_never_wins() -> None:
    made = panel({"oracle": (0.95, 0.95), "naive": (0.5, 0.5), "routed": (0.5, 0.5)})
    assert "oracle" not in verdict(made)
    assert "draw between" in verdict(made)


def test_a_draw_is_said_as_a_draw() -> None:
    made = panel({"routed": (0.6, 0.5), "naive": (0.3, 0.5)})
    said = verdict(made)
    assert "routed wins at p = 0.01, by 0.3" in said
    assert "at p = 0.1 it is a draw between" in said


def test_every_winner_is_named() -> None:
    said = verdict(panel({"routed": (0.6, 0.5), "naive": (0.3, 0.8)}))
    assert "routed wins at p = 0.01" in said
    assert "naive wins at p = 0.1" in said


def test_a_draw_of_many_names_who_is_in_front() -> None:
    made = panel(dict.fromkeys(["routed", "naive", "filtered", "uds"], (0.5, 0.5)))
    front = compare(made, made.competitors, 0.01).best
    assert f"with {front} in front" in verdict(made)


@pytest.mark.parametrize("seeds", [[0], [0, 1]])
def test_few_seeds_support_no_verdict(seeds: list[int]) -> None:
    made = panel({"routed": (0.8, 0.8), "naive": (0.4, 0.5)}, seeds)
    assert "a lead is not a finding" in verdict(made)
    assert compare(made, made.competitors, 0.1).few == ("routed", "naive")


@pytest.mark.parametrize(
    ("methods", "why"), [(["naive"], "only naive was run"), (["oracle"], "only oracles were run")]
)
def test_nobody_to_compare_with(methods: list[str], why: str) -> None:
    assert why in verdict(panel(dict.fromkeys(methods, (0.5, 0.5))))


def test_early_stopping_is_judged_on_observed_episodes() -> None:
    made = panel({"routed": (0.6, 0.5), "naive": (0.3, 0.8)}, rule="last")
    said = early_stopping(made, "routed")
    assert "routed is ahead of naive at p = 0.01, by 0.3" in said
    assert "naive is ahead of routed at p = 0.1, by 0.2" in said


def test_early_stopping_that_makes_them_level() -> None:
    made = panel({"routed": (0.5, 0.5), "naive": (0.5, 0.5)})
    assert "at p = 0.01 and 0.1 routed and naive cannot be told apart" in early_stopping(
        made, "routed"
    )


def test_early_stopping_without_its_runs() -> None:
    assert "no runs of naive" in early_stopping(panel({"routed": (0.5, 0.5)}), "routed")
    two = panel({"routed": (0.5, 0.5), "naive": (0.5, 0.5)}, seeds=[0, 1])
    assert "takes 3 seeds" in early_stopping(two, "routed")
