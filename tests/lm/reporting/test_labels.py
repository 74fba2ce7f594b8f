"""A sweep over label recall: its measure, its references and who is ahead where."""

import io

import pytest
from rich.console import Console

from lm.report import ROBUST, Labeled, labels_table, labels_verdict
from tests.lm.reporting import result


def swept(advantage: float) -> Labeled:
    """Return a sweep in which routing leads filtering at recall 0.5 alone."""
    seeds = range(3)
    references = [result(m, s, 0.7 + s / 10) for m in ("gold", "unrouted") for s in seeds]
    half = [result("filtered", s, 1.0 + s / 10) for s in seeds]
    half += [result("parameters", s, 1.0 + s / 10 + advantage) for s in seeds]
    whole = [result(m, s, 1.5) for m in ("filtered", "parameters") for s in seeds]
    by_recall = {1.0: [*references, *whole], 0.5: half}
    return Labeled(
        [each | {"label_recall": recall} for recall in by_recall for each in by_recall[recall]]
    )


def test_robust_unlearning_is_the_relearned_loss_less_that_of_the_base_before() -> None:
    labeled = swept(0.2)
    robust = labeled.values("parameters", 0.5, ROBUST)
    assert robust == pytest.approx({0: 0.3, 1: 0.4, 2: 0.5})
    assert list(labeled.line("parameters", ROBUST)) == [0.5, 1.0]


def test_a_reference_serves_every_share() -> None:
    assert list(swept(0.2).line("gold", ROBUST)) == [1.0]
    assert swept(0.2).values("gold", 0.5, "retain_loss.repaired") == {0: 1.0, 1: 1.0, 2: 1.0}


def test_without_the_base_nothing_is_robust() -> None:
    alone = Labeled([result("era", 0, 2.0, label_recall=0.5)])
    assert alone.line("era", ROBUST) == {}
    assert alone.recalls == (0.5,)


def test_the_verdict_names_the_shares_at_which_a_method_is_ahead() -> None:
    assert labels_verdict(swept(0.2)) == (
        "Of the shares of labels, in robust unlearning, parameters is ahead at 0.5; "
        "no method leads beyond its interval at 1."
    )
    assert labels_verdict(swept(0.0)).endswith("no method leads beyond its interval at 0.5 and 1.")


def test_the_table_has_a_row_for_each_method_and_measure() -> None:
    shown = io.StringIO()
    Console(file=shown, width=120).print(labels_table("labels", swept(0.2)))
    rows = [line.split() for line in shown.getvalue().splitlines() if "unlearning" in line]
    assert ["parameters", "robust", "unlearning", "0.400", "+-0.100", "0.600"] in [
        row[:6] for row in rows
    ]
    assert "facts" not in shown.getvalue()
    assert ["gold", "robust", "unlearning", "-0.100", "+-0.100", "-0.100", "+-0.100"] in rows
