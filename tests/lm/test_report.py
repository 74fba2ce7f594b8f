"""Tests of comparisons, tables and verdicts of results with known answers."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from lm.report import (
    FACTS_CURVE,
    LOSS_CURVE,
    labels_table,
    labels_verdict,
    mean_curve,
    ranking,
    unlearning_table,
    verdict,
    worst_curve,
)
from lm.results import (
    ROBUST,
    Results,
    number,
)
from lm.robustness import attacks_table
from tests.lm.result_factories import curve, result, retained

FACT_CURVE = {"attack": FACTS_CURVE.attack, "measure": FACTS_CURVE.measure}


def test_worst_curve_is_the_cumulative_worst_case_over_attacks() -> None:
    one, other = curve([3.0, 1.0, 2.0]), curve([3.0, 2.0, 0.5], learning_rate=2e-3)
    worst = worst_curve(result("era", 0, curves=[one, other]), LOSS_CURVE)
    assert worst is not None
    assert worst.values == (3.0, 1.0, 0.5)
    assert worst_curve(result("era", 0, curves=[one]), FACTS_CURVE) is None
    assert worst_curve(result("era", 0), LOSS_CURVE) is None


def test_worst_curve_of_facts_is_highest_and_uses_only_the_half_attack() -> None:
    curves = [
        curve([0.2, 0.5, 0.4], **FACT_CURVE),
        curve([1.0, 1.0, 1.0], "same", FACTS_CURVE.measure),
    ]
    worst = worst_curve(result("era", 0, curves=curves), FACTS_CURVE)
    assert worst is not None
    assert worst.values == (0.2, 0.5, 0.5)


def test_mean_curve_averages_seeds_at_each_step() -> None:
    losses = {0: [3.0, 1.0], 1: [5.0, 2.0]}
    runs = Results([result("era", seed, curves=[curve(each)]) for seed, each in losses.items()])
    assert {step: mean.value for step, mean in mean_curve(runs, "era", LOSS_CURVE).items()} == {
        0: 4.0,
        1: 1.5,
    }
    assert mean_curve(Results([result("era", 0)]), "era", LOSS_CURVE) == {}


def test_table_rows_show_means_and_half_intervals() -> None:
    known = {"mcq_forget": {"repaired": 0.25}, "steps_to_relearn": 7}
    runs = [result("era", seed, 1.0 + 2 * seed, **known) for seed in range(2)]
    shown = io.StringIO()
    console = Console(file=shown, width=120)
    console.print(unlearning_table("forget forest", Results([*runs, result("gold", 0, None)])))
    lines = shown.getvalue().splitlines()
    assert lines[0].strip() == "forget forest"
    rows = [line.split() for line in lines if line.split()[:1] in (["era"], ["gold"])]
    assert rows == [
        ["gold", "0.900", "2.900", "-", "-", "1.000", "-", "-"],
        [
            *("era", "0.900", "2.900", "+-0.000", "2.000", "+-1.000", "7"),
            *("1.000", "+-0.000", "25%", "-"),
        ],
    ]
    assert max(len(line.rstrip()) for line in lines) <= 100


@pytest.mark.parametrize("make", [unlearning_table, labels_table, attacks_table])
@pytest.mark.parametrize(
    ("seeds", "said"), [(1, "other digits; --seeds 0 1 2 adds intervals"), (2, "95% intervals")]
)
def test_captions_say_what_the_numbers_of_one_and_of_several_seeds_are(
    make: Callable[[str, Results], Table], seeds: int, said: str
) -> None:
    runs = Results([result("era", seed, 1.0, label_recall=0.5) for seed in range(seeds)])
    assert str(make("forget forest", runs).caption).endswith(said)


def test_no_digit_is_cut_on_a_terminal_of_80_columns() -> None:
    known = {"mcq_forget": {"repaired": 0.25}, "curves": [curve([3.0, 1.0])], "label_recall": 0.5}
    methods = ("gold", "filtered", "unrouted", "rmu", "modules-classified", "lora-pair-classified")
    runs = Results(
        [result(method, seed, 1.0 + seed, **known) for method in methods for seed in range(3)]
    )
    for make in (unlearning_table, labels_table, attacks_table):
        shown = io.StringIO()
        Console(file=shown, width=80).print(make("forget forest", runs))
        lines = shown.getvalue().splitlines()
        assert "\u2026" not in shown.getvalue()
        assert max(len(line.rstrip()) for line in lines) <= 80


def test_table_omits_facts_when_none_were_measured() -> None:
    table = unlearning_table("documents", Results([result("era", 0)]))
    assert not any("facts" in str(column.header) for column in table.columns)
    assert "facts" not in str(table.caption)
    assert len(table.columns) == 6


def test_number_follows_a_path_and_returns_nan_when_missing() -> None:
    assert number({"a": {"b": 2}}, "a.b") == 2.0
    for incomplete in ({}, {"a": None}, {"a": 3.0}, {"a": {"b": None}}):
        assert str(number(incomplete, "a.b")) == "nan"


def swept(advantage: float) -> Results:
    """Return a sweep in which routing leads filtering at recall 0.5 alone."""
    seeds = range(3)
    references = [result(m, s, 0.7 + s / 10) for m in ("gold", "unrouted") for s in seeds]
    half = [result("filtered", s, 1.0 + s / 10) for s in seeds]
    half += [result("parameters", s, 1.0 + s / 10 + advantage) for s in seeds]
    whole = [result(m, s, 1.5) for m in ("filtered", "parameters") for s in seeds]
    by_recall = {1.0: [*references, *whole], 0.5: half}
    return Results(
        [each | {"label_recall": recall} for recall in by_recall for each in by_recall[recall]]
    )


def test_robust_unlearning_is_relearned_loss_minus_base_loss() -> None:
    labeled = swept(0.2)
    robust = labeled.at(0.5).values("parameters", ROBUST)
    assert robust == pytest.approx({0: 0.3, 1: 0.4, 2: 0.5})
    assert list(labeled.by_recall("parameters", ROBUST)) == [0.5, 1.0]


def test_references_serve_every_label_recall() -> None:
    assert list(swept(0.2).by_recall("gold", ROBUST)) == [1.0]
    assert swept(0.2).at(0.5).values("gold", "retain_loss.repaired") == {0: 1.0, 1: 1.0, 2: 1.0}


def test_robust_unlearning_is_empty_without_the_base() -> None:
    alone = Results([result("era", 0, 2.0, label_recall=0.5)])
    assert alone.by_recall("era", ROBUST) == {}
    assert alone.recalls == (0.5,)


def test_labels_verdict_names_recalls_at_which_a_method_leads() -> None:
    assert labels_verdict(swept(0.2)) == (
        "In robust unlearning, by label recall: parameters leads at 0.5; "
        "no method leads significantly at 1."
    )
    assert labels_verdict(swept(0.0)).endswith("no method leads significantly at 0.5 and 1.")


def test_labels_table_has_a_row_for_each_method_and_measure() -> None:
    shown = io.StringIO()
    Console(file=shown, width=120).print(labels_table("labels", swept(0.2)))
    rows = [line.split() for line in shown.getvalue().splitlines() if "unlearning" in line]
    assert ["parameters", "robust", "unlearning", "0.400", "+-0.100", "0.600"] in [
        row[:6] for row in rows
    ]
    assert "facts" not in shown.getvalue()
    assert ["gold", "robust", "unlearning", "-0.100", "+-0.100", "-0.100", "+-0.100"] in rows


def at_distance(method: str, seed: int, area: float, retain_loss: float = 1.0) -> dict[str, Any]:
    """Return a run whose area to gold's curve is given, where that of unrouted is 10."""
    more = {"area_to_gold_facts": area / 2, "share_of_base": area / 10, "share_of_base_facts": 0.0}
    return result(method, seed, area_to_gold=area, **more) | retained(retain_loss)


ATTACKED = [
    at_distance(method, seed, area + seed / 10, retain_loss)
    for method, area, retain_loss in (
        ("gold", 0.0, 1.0),
        ("unrouted", 10.0, 1.0),
        ("filtered", 5.0, 0.98),
        ("parameters", 1.0, 1.01),
        ("rmu", 9.0, 1.02),
    )
    for seed in range(3)
]


def test_verdict_names_winner_runner_up_costs_and_seeds() -> None:
    assert verdict(Results(ATTACKED)) == (
        "parameters relearns most like gold: of the area between the relearning curves of "
        "unrouted and gold, parameters leaves 11% (10% to 12%) in loss and 0% (0% to 0%) in "
        "facts, filtered leaves 51% (50% to 52%) in loss and 0% (0% to 0%) in facts, with 95% "
        "intervals over 3 seeds; retain loss relative to unrouted: +1.0% (1.0% to 1.0%) for "
        "parameters and -2.0% (-2.0% to -2.0%) for filtered."
    )


def test_ranking_is_by_distance_to_gold_without_references_and_controls() -> None:
    controls = [at_distance(m, 0, 0.0) for m in ("gold", "random-region", "unrouted-ablated")]
    assert ranking(Results([*ATTACKED, *controls])) == ["parameters", "filtered", "rmu"]
    nothing = "There is no verdict: it needs attacks on gold and on a method of unlearning."
    assert verdict(Results(controls)) == nothing
    assert verdict(Results([result("era", 0)])) == nothing


def test_verdict_includes_the_best_routed_method() -> None:
    ahead = [at_distance("filtered-tokens", seed, 0.1) for seed in range(3)]
    sentence = verdict(
        Results([*ATTACKED[:9], *ahead, *[at_distance("modules", s, 7.0) for s in range(3)]])
    )
    assert sentence.startswith("filtered-tokens relearns most like gold: ")
    assert "filtered leaves 51%" in sentence
    assert "modules leaves 70%" in sentence


def test_verdict_is_a_tie_when_no_difference_is_significant() -> None:
    tied = [at_distance("era", seed, 1.1 + seed / 10 + (-1) ** seed / 4) for seed in range(3)]
    start = "parameters and era do not differ significantly in relearning like gold: "
    assert verdict(Results([*ATTACKED, *tied])).startswith(start)


def test_verdict_reports_areas_when_there_is_one_seed_and_no_base() -> None:
    one = [
        {name: value for name, value in each.items() if not name.startswith("share")}
        for each in ATTACKED
        if each["seed"] == 0 and each["method"] != "unrouted"
    ]
    assert verdict(Results(one)) == (
        "parameters relearns most like gold: of the area between its relearning curve and that of "
        "gold, parameters leaves 1.00 nats times steps and 0.50 shares of facts times steps, "
        "filtered leaves 5.00 nats times steps and 2.50 shares of facts times steps; retain loss "
        "relative to gold: +1.0% for parameters and -2.0% for filtered; with 1 seed, no "
        "difference is significant."
    )


def test_verdict_names_no_winner_when_there_is_one_method() -> None:
    alone = [each for each in ATTACKED if each["method"] in ("gold", "modules")]
    sentence = verdict(Results([*alone, *[at_distance("modules", seed, 2.0) for seed in range(3)]]))
    assert sentence.startswith(
        "Of the area between the relearning curves of unrouted and gold, mod"
    )
