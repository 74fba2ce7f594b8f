"""Tests of the comparison of routing with filtering at each quality of labels."""

from collections.abc import Mapping
from math import nan
from pathlib import Path

import pytest

from lm.figures import draw, map_figure
from lm.label_map import Comparison, label_map, map_table, map_verdict, rivals
from lm.methods import METHODS
from lm.results import Result, Results
from oversight.runs.statistics import Estimate
from tests.lm.result_factories import result


def run(
    method: str, seed: int, attacked: float, retain: float = 0.5, precision: float = 1.0
) -> Result:
    """Return a run at label recall 0.5 whose forget loss after the attack is given."""
    stages: Mapping[str, float] = dict.fromkeys(("before", "after", "repaired"), retain)
    more = {"retain_loss": stages, "label_recall": 0.5, "label_precision": precision}
    return result(method, seed, attacked + seed / 100, **more)


def compared(routed: float, retain: float = 0.5, seeds: int = 3) -> Comparison:
    """Return the comparison of parameters with filtering, whose loss after the attack is 0.5."""
    runs = [run("filtered", seed, 0.5) for seed in range(seeds)]
    runs += [run("parameters", seed, routed, retain) for seed in range(seeds)]
    (found,) = label_map(Results(runs))
    return found


@pytest.mark.parametrize(
    ("routed", "retain", "outcome"),
    [
        (0.6, 0.51, "ahead"),
        (0.6, 0.53, "ahead at a price"),
        (0.4, 0.49, "behind"),
        (0.4, 0.47, "behind, retains more"),
        (0.5, 0.4, "even"),
    ],
)
def test_outcome_weighs_what_is_left_after_the_attack_against_what_is_retained(
    routed: float, retain: float, outcome: str
) -> None:
    found = compared(routed, retain)
    assert found.outcome == outcome
    assert found.attacked.value == pytest.approx(routed - 0.5)
    assert found.retained.value == pytest.approx(retain - 0.5)
    assert (found.recall, found.precision) == (0.5, 1.0)


def test_facts_count_as_much_as_losses() -> None:
    fewer, more = Estimate(-0.3, -0.4, -0.2, 3), Estimate(0.3, 0.2, 0.4, 3)
    assert compared(0.5)._replace(attacked_facts=fewer).outcome == "ahead"
    assert compared(0.6)._replace(attacked_facts=fewer).outcome == "ahead"
    assert compared(0.6)._replace(attacked_facts=more).outcome == "mixed"
    assert compared(0.5)._replace(attacked_facts=more).outcome == "behind"


def test_two_seeds_decide_nothing() -> None:
    assert compared(0.9, seeds=2).outcome == "unknown"
    assert map_verdict([compared(0.9, seeds=2)]).startswith("Whether routing is ahead")


def test_lost_retain_facts_are_a_price() -> None:
    ahead = compared(0.6)
    assert ahead._replace(retained_facts=Estimate(-0.04, nan, nan, 3)).outcome == "ahead"
    assert ahead._replace(retained_facts=Estimate(-0.06, nan, nan, 3)).outcome == "ahead at a price"


def test_rivals_are_told_no_more_than_the_routed_method() -> None:
    for routed, filtered in rivals(list(METHODS)):
        one, other = METHODS[routed], METHODS[filtered]
        assert one.labels.classified == other.labels.classified
        assert one.labels.retain_missing >= other.labels.retain_missing
        assert one.ablation == "expansion"
        assert other.ablation == "nothing"
    told = dict.fromkeys(
        each for pair in rivals(["filtered", "filtered-checked", "gram"]) for each in pair
    )
    assert list(told) == ["gram", "filtered", "filtered-checked"]
    assert rivals(["filtered-checked", "parameters", "rmu", "gold", "filtered-tokens"]) == []


def test_verdict_names_where_routing_is_ahead_of_all_its_rivals() -> None:
    runs = [run("filtered", seed, 0.5) for seed in range(3)]
    runs += [run("filtered-checked", seed, 0.7) for seed in range(3)]
    runs += [run("gram", seed, 0.6) for seed in range(3)]
    assert map_verdict(label_map(Results(runs))).endswith("at no measured label quality.")
    runs += [
        run(name, s, 0.6 + 0.1 * (name == "gram"), precision=0.8)
        for name in ("filtered", "gram")
        for s in range(3)
    ]
    assert map_verdict(label_map(Results(runs))).endswith(": gram at recall 0.5 and precision 0.8.")


def test_figure_has_a_plot_for_each_pair_and_a_cell_for_each_quality(tmp_path: Path) -> None:
    found = compared(0.6)
    figure = map_figure([found, found._replace(routed="gram", precision=0.8)])
    drawn = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert drawn == [["+0.00\n+0.10"], ["+0.00\n+0.10"], []]
    (named,) = figure.legends
    assert [text.get_text() for text in named.get_texts()] == ["routing: ahead"]
    runs = [run(name, seed, 0.5) for name in ("filtered", "parameters") for seed in range(2)]
    assert [each.name for each in draw(Results(runs), "labels", tmp_path)] == ["label-map.png"]
    assert map_table("t", [found]).row_count == 1
