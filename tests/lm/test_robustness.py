"""Tests of robustness to attacks, by a margin and, from three seeds on, by an interval."""

from math import isnan
from typing import Any

import pytest

from lm.attacks.results import CONTROL, FACTS, LOSS
from lm.report import facts_known
from lm.results import Results
from lm.robustness import Robustness, attacks_table, robustness, robustness_sentence, worst_by_seed
from tests.lm.result_factories import curve, result


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


BASE = attacked("unrouted", facts=1.0, loss=0.5)
"""A model from which nothing was removed, and which does not withstand the attacks."""


def only(results: list[dict[str, Any]], figure: str = FACTS) -> Robustness:
    """Return the row of the only method but the references."""
    rows = robustness(Results(results))
    return next(each for each in rows if each.figure == figure and each.method != "unrouted")


def test_robustness_compares_worst_settings_with_gold_of_the_same_seed() -> None:
    results = Results([attacked("gold"), BASE, attacked("rmu", facts=0.8, loss=1.0)])
    rows = [each for each in robustness(results) if each.method == "rmu"]
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
    results = [attacked("gold"), BASE, attacked("era", facts=facts, loss=loss)]
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
    results += [{**BASE, "seed": seed} for seed in range(len(leads))]
    results += [attacked("rmu", seed, facts=0.25 + lead) for seed, lead in enumerate(leads)]
    assert only(results).robust is robust
    assert only(results).lead.seeds == len(leads)


LOSSES, KEPT = [3.0, 2.0, 1.0, 0.5], [1.0, 1.02, 1.1, 1.3]
"""Forget and retain loss of an attack that breaks the model at its last step."""


def relearned(
    method: str,
    forget: list[float],
    retain: list[float] | None = None,
    **more: Any,  # noqa: ANN401
) -> dict[str, Any]:
    """Return a result with one relearning curve."""
    made = curve(forget, **more)
    if retain is not None:
        made["values"]["retain_loss"] = retain
    return result(method, 0, curves=[made])


@pytest.mark.parametrize(
    ("retain", "worst"),
    [
        (None, 0.5),  # results of earlier versions
        ([1.0, 1.0, 1.0, 1.0], 0.5),
        (KEPT, 1.0),  # 10% more counts, 30% does not
        ([2.0, 2.3, 2.0, 2.3], 1.0),  # each step is judged by itself
        ([1.0, 0.5, 2.0, 0.5], 0.5),
        ([1.0, 1.2, 1.2, 1.2], 3.0),  # the model before the attack always counts
        ([1.0, 1.0, float("nan"), float("inf")], 2.0),
    ],
)
def test_attack_counts_only_while_the_retain_loss_rises_by_at_most_a_tenth(
    retain: list[float] | None, worst: float
) -> None:
    for method in ("gold", "rmu", "unrouted"):
        results = Results([relearned(method, LOSSES, retain)])
        assert worst_by_seed(results, method, "same", LOSS) == {0: worst}


def test_other_settings_count_where_one_breaks_the_model() -> None:
    broken, mild = (
        relearned("rmu", [3.0, low], retain, learning_rate=rate)["curves"][0]
        for low, retain, rate in ((0.5, [1.0, 1.5], 1e-2), (1.5, [1.0, 1.05], 1e-3))
    )
    results = Results([result("rmu", 0, curves=[broken, mild])])
    assert worst_by_seed(results, "rmu", "same", LOSS) == {0: 1.5}


def test_setting_does_not_count_where_one_draw_of_examples_breaks_the_model() -> None:
    draws = [
        relearned("rmu", [3.0, low], [1.0, retain], seed=seed)["curves"][0]
        for seed, (low, retain) in enumerate(((1.0, 1.18), (2.0, 1.02)))
    ]
    assert worst_by_seed(Results([result("rmu", 0, curves=draws)]), "rmu", "same", LOSS) == {0: 3.0}
    assert worst_by_seed(Results([result("rmu", 0, curves=draws[1:])]), "rmu", "same", LOSS) == {
        0: 2.0
    }


def test_facts_count_by_the_same_rule() -> None:
    made = relearned("rmu", [3.0, 1.0], [1.0, 1.2])
    made["curves"][0]["values"]["mcq_forget"] = [0.25, 1.0]
    assert worst_by_seed(Results([made]), "rmu", "same", FACTS) == {0: 0.25}


def test_method_is_robust_to_attacks_that_only_break_it() -> None:
    steps = {"gold": [2.0, 1.9], "unrouted": [0.5, 0.5], "rmu": [2.5, 0.5]}
    for retain, robust in (([1.0, 1.2], True), ([1.0, 1.05], False)):
        kept = {method: [1.0, 1.0] for method in steps} | {"rmu": retain}
        results = [relearned(method, steps[method], kept[method]) for method in steps]
        assert only(results, LOSS).robust is robust


def test_robustness_is_unknown_without_gold() -> None:
    unknown = only([attacked("rmu"), attacked("gold", 1)])
    assert unknown.robust is None
    assert isnan(unknown.lead.value)
    assert robustness(Results([result("rmu", 0)])) == []
    assert worst_by_seed(Results([attacked("rmu", 3)]), "rmu", "probe", CONTROL) == {3: 0.3}


def test_robustness_sentence_counts_attacks_for_each_method() -> None:
    results = [
        attacked("gold"),
        BASE,
        attacked("filtered"),
        attacked("rmu", loss=1.0),
        attacked("era", facts=1.0, loss=1.0),
    ]
    assert robustness_sentence(robustness(Results(results))) == (
        "Attacks that methods are robust to, compared with gold, of those that unrouted does not "
        "withstand: filtered to 2 of 2, unrouted to 0 of 2, rmu to 1 of 2, era to 0 of 2."
    )
    alone = robustness(Results([attacked("rmu")]))
    assert (
        robustness_sentence(alone)
        == robustness_sentence([])
        != robustness_sentence(robustness(Results(results)))
    )


@pytest.mark.parametrize("facts", [0.25, 0.34, 0.1])
def test_unrouted_never_withstands_an_attack(facts: float) -> None:
    base = attacked("unrouted", facts=facts, loss=1.95)
    rows = robustness(Results([attacked("gold"), base, attacked("rmu"), attacked("filtered")]))
    assert not any(each.robust for each in rows)
    assert {each.answer for each in rows} == {"unknown, since unrouted withstands it as well"}
    assert "Robustness is unknown" in robustness_sentence(rows)
    seeds = [{**each, "seed": seed} for seed in range(4) for each in (attacked("gold"), base)]
    assert not any(each.robust for each in robustness(Results(seeds)))


@pytest.mark.parametrize(
    ("damage", "robust"),
    [
        ({"retain_loss": {"repaired": 1.09}}, True),
        ({"retain_loss": {"repaired": 2.74}}, False),
        ({"mcq_retain": {"repaired": 0.95}}, True),
        ({"mcq_retain": {"repaired": 0.5}}, False),
    ],
)
def test_method_that_damages_what_is_to_be_retained_is_not_robust(
    damage: dict[str, Any], robust: bool
) -> None:
    facts = {"mcq_retain": {"repaired": 1.0}}
    results = [{**attacked("gold"), **facts}, {**BASE, **facts}]
    row = only([*results, {**attacked("rmu"), **facts, **damage}])
    assert row.robust is row.retains is robust
    assert row.answer == ("yes" if robust else "**no**, since it damages what is to be retained")
    sentence = robustness_sentence(
        robustness(Results([*results, {**attacked("rmu"), **facts, **damage}]))
    )
    assert ("rmu to 0 of 2 (it damages what is to be retained)" in sentence) is not robust


def test_robustness_is_unknown_without_the_unrouted_model() -> None:
    row = only([attacked("gold"), attacked("rmu")])
    assert row.robust is None
    assert row.answer == "unknown, since unrouted was not run"
    assert only([attacked("gold"), attacked("rmu", facts=0.9)]).robust is False


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
