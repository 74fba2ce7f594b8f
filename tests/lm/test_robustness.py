"""Tests of robustness to attacks, by a margin and, from three seeds on, by an interval."""

from math import isnan
from typing import Any

import pytest

from lm.attacks.results import CONTROL, FACTS, LOSS
from lm.report import Results, facts_known
from lm.robustness import Robustness, attacks_table, robustness, robustness_sentence, worst_by_seed
from tests.lm.result_factories import result


def row(attack: str, figure: str, value: float | None, setting: float = 0) -> dict[str, Any]:
    return {"attack": attack, "setting": {"layer": setting}, "figure": figure, "value": value}


def attacked(method: str, seed: int = 0, **values: float) -> dict[str, Any]:
    """Return a result with rows of probes of three layers and of quantization."""
    facts, loss = values.get("facts", 0.25), values.get("loss", 2.0)
    grid = [
        row("probe", FACTS, 0.1, 0),
        row("probe", FACTS, facts, 1),
        row("probe", FACTS, None, 2),
        row("probe", CONTROL, 0.9, 0),
        row("probe", CONTROL, 0.3, 1),
        row("quantized", LOSS, 9.0),
        row("quantized", LOSS, loss, 4),
    ]
    return result(method, seed, mcq_forget={"repaired": 0.5}, grid=grid)


def only(results: list[dict[str, Any]], figure: str = FACTS) -> Robustness:
    return next(each for each in robustness(Results(results)) if each.figure == figure)


def test_robustness_compares_worst_settings_with_gold_of_the_same_seed() -> None:
    rows = robustness(Results([attacked("gold"), attacked("rmu", facts=0.8, loss=1.0)]))
    assert [(r.method, r.attack, r.figure) for r in rows] == [
        ("rmu", "probe", FACTS),
        ("rmu", "quantized", LOSS),
    ]
    facts, loss = rows
    assert (facts.worst_case.value, facts.gold.value, facts.lead.value) == pytest.approx(
        (0.8, 0.25, 0.55)
    )
    assert (loss.worst_case.value, loss.gold.value, loss.lead.value) == (1.0, 2.0, 1.0)
    assert facts.robust is loss.robust is False


@pytest.mark.parametrize(
    ("facts", "loss", "robust"), [(0.34, 1.91, True), (0.36, 1.89, False), (0.1, 5.0, True)]
)
def test_robustness_uses_the_margin_when_there_is_one_seed(
    facts: float, loss: float, robust: bool
) -> None:
    results = [attacked("gold"), attacked("era", facts=facts, loss=loss)]
    assert only(results).robust is robust
    assert only(results, LOSS).robust is robust


@pytest.mark.parametrize(
    ("leads", "robust"),
    [
        ((0.3, 0.3, 0.3), False),
        ((0.05, 0.05, 0.05), True),  # significant, but within the margin
        ((-0.1, 0.0, 0.7), True),  # beyond the margin, but not significant
        ((-0.1, 0.7), False),  # two seeds are too few for an interval
    ],
)
def test_robustness_tests_significance_from_three_seeds_on(
    leads: tuple[float, ...], robust: bool
) -> None:
    results = [attacked("gold", seed) for seed in range(len(leads))]
    results += [attacked("rmu", seed, facts=0.25 + lead) for seed, lead in enumerate(leads)]
    assert only(results).robust is robust
    assert only(results).lead.seeds == len(leads)


def test_robustness_is_unknown_without_gold() -> None:
    unknown = only([attacked("rmu"), attacked("gold", 1)])
    assert unknown.robust is None
    assert isnan(unknown.lead.value)
    assert robustness(Results([result("rmu", 0)])) == []
    assert worst_by_seed(Results([attacked("rmu", 3)]), "rmu", "probe", CONTROL) == {3: 0.3}


def test_robustness_sentence_counts_attacks_for_each_method() -> None:
    results = [
        attacked("gold"),
        attacked("filtered"),
        attacked("rmu", loss=1.0),
        attacked("era", facts=1.0, loss=1.0),
    ]
    assert robustness_sentence(robustness(Results(results))) == (
        "Attacks that methods are robust to, compared with gold: "
        "filtered to 2 of 2, rmu to 1 of 2, era to 0 of 2."
    )
    alone = robustness(Results([attacked("rmu")]))
    assert (
        robustness_sentence(alone)
        == robustness_sentence([])
        != robustness_sentence(robustness(Results(results)))
    )


def test_attacks_table_has_a_row_for_each_attack_and_a_column_for_each_method() -> None:
    table = attacks_table("t", Results([attacked("rmu", facts=0.8, loss=1.5), attacked("gold")]))
    cells = [list(column.cells) for column in table.columns]
    assert [column.header for column in table.columns] == ["attack", "", "gold", "rmu"]
    assert cells == [
        ["none", "probe", "- labels shuffled", "none", "quantized"],
        ["facts", "facts", "facts", "loss", "loss"],
        ["50%", "25%", "30%", "2.900", "2.000"],
        ["50%", "80%", "30%", "2.900", "1.500"],
    ]


def test_attacks_table_shows_intervals_over_seeds() -> None:
    results = [attacked("gold", seed, facts=facts) for seed, facts in enumerate((0.2, 0.3, 0.4))]
    table = attacks_table("t", Results(results))
    assert list(table.columns[2].cells)[1] == "30% +-10"
    assert facts_known(only([attacked("rmu")]).gold) == "-"
