"""Relearning curves: the worst attack and its mean, against closed forms."""

from lm.report import FACTS_CURVE, LOSS_CURVE, Runs, band, worst_of
from tests.lm.reporting import curve, result

FACT_CURVE = {"attack": FACTS_CURVE.attack, "measure": FACTS_CURVE.measure}


def test_the_worst_attack_is_taken_at_each_step_and_kept() -> None:
    one, other = curve([3.0, 1.0, 2.0]), curve([3.0, 2.0, 0.5], learning_rate=2e-3)
    found = worst_of(result("era", 0, curves=[one, other]), LOSS_CURVE)
    assert found is not None
    assert found.values == (3.0, 1.0, 0.5)
    assert worst_of(result("era", 0, curves=[one]), FACTS_CURVE) is None
    assert worst_of(result("era", 0), LOSS_CURVE) is None


def test_for_facts_more_is_worse_and_only_the_attack_by_halves_counts() -> None:
    curves = [
        curve([0.2, 0.5, 0.4], **FACT_CURVE),
        curve([1.0, 1.0, 1.0], "same", FACTS_CURVE.measure),
    ]
    found = worst_of(result("era", 0, curves=curves), FACTS_CURVE)
    assert found is not None
    assert found.values == (0.2, 0.5, 0.5)


def test_a_band_is_the_mean_over_seeds_at_each_step() -> None:
    losses = {0: [3.0, 1.0], 1: [5.0, 2.0]}
    runs = Runs([result("era", seed, curves=[curve(each)]) for seed, each in losses.items()])
    assert {step: mean.value for step, mean in band(runs, "era", LOSS_CURVE).items()} == {
        0: 4.0,
        1: 1.5,
    }
    assert band(Runs([result("era", 0)]), "era", LOSS_CURVE) == {}
